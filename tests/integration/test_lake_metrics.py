"""The metrics against real services, each started as the stack starts it: Kafka, Nessie, the S3 store, Prometheus."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from include.contracts import topics
from include.orchestration.hours import Hour
from include.orchestration.nessie import Nessie
from include.orchestration.turn import branch_name
from include.settings import Endpoint, Settings
from spark_apps.bronze_writer.metrics import WriterMetrics
from stack import first_start, initialise, jars, services, standard
from stack.layout import Layout
from stack.lifecycle import layout_of, render_all
from stack.metrics.backlog import Backlog
from stack.metrics.publications import Publications
from streaming.metrics import Metrics
from tests.drivers.running_stack import free_ports
from tests.drivers.waiting import eventually

pytestmark = pytest.mark.integration

NAMES = ("kafka", "nessie", "s3", "metrics", "prometheus")
PATIENCE_S = 120
TRADES, EVENTS = topics.COINBASE_TRADES, topics.EVENTS
Told = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    state = tmp_path_factory.mktemp("metrics")
    first_start.ensure_secrets(state, {})
    ports = {service: {"port": port} for service, port in free_ports().items()}
    return Settings(_env_file=state / "secrets.env", state_dir=state, profile="standard", **ports)


@pytest.fixture(scope="module")
def processes(settings: Settings) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The processes, each ready; afterwards all have ended."""
    with jars.download_progress() as progress:
        jars.fetch((jars.KAFKA, jars.NESSIE, jars.S3PROXY, standard.JMX), settings.tools_dir, progress)
    standard.bring_prometheus(settings.tools_dir)
    layout = layout_of(settings)
    parts = {part.name: part for part in services.of_profile(layout)}
    render_all(layout, parts.values())
    layout.temporary.mkdir()
    running = {}
    try:
        for part in (parts[name] for name in NAMES):
            if part.prepare:
                part.prepare()
            with (settings.state_dir / f"{part.name}.log").open("wb") as log:
                environment = {**os.environ, **environment_of(layout, settings), **part.environment}
                running[part.name] = subprocess.Popen(part.command, env=environment, stdout=log, stderr=log)
        for name in NAMES:
            eventually(parts[name].ready, within=PATIENCE_S, what=f"{name} to be ready")
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(40)


def environment_of(layout: Layout, settings: Settings) -> dict[str, str]:
    """What the processes are told, with the ports that a stack would have kept."""
    endpoints = [name for name, info in Settings.model_fields.items() if info.annotation is Endpoint]
    return layout.environment() | {
        f"LAKE_{name.upper()}__PORT": str(getattr(settings, name).port) for name in endpoints
    }


def read(url: str) -> Told:
    """What is told at an address, by name and label values in the order of their names."""
    families = text_string_to_metric_families(httpx.get(url).raise_for_status().text)
    return by_labels([sample for family in families for sample in family.samples])


def by_labels(samples: list[Any]) -> Told:
    return {(each.name, *(value for _, value in sorted(each.labels.items()))): each.value for each in samples}


def wait_for_source(settings: Settings, name: str) -> None:
    def is_up() -> float:
        return read(f"{settings.metrics.url}/metrics")["lake_source_up", name]

    eventually(is_up, within=PATIENCE_S, what=f"the service to read {name}")


def test_the_backlog_is_what_is_not_committed_and_as_old_as_its_oldest_record(settings, processes):
    initialise.create_topics(settings)
    # Once it can be read, the new partitions have their leaders.
    wait_for_source(settings, "kafka")
    admin = AdminClient({"bootstrap.servers": settings.kafka.address})
    producer = Producer({"bootstrap.servers": settings.kafka.address})
    now = time.time()
    for age in (5000, 4000, 3000, 100):
        producer.produce(TRADES.name, b"{}", partition=1, timestamp=int((now - age) * 1000))
    producer.produce(EVENTS.name, b"{}", partition=0, timestamp=int((now - 50) * 1000))
    assert producer.flush(10) == 0
    for group, topic, part, offset in (
        ("bronze.trades", TRADES.name, 1, 2),
        ("bronze.ingestion_events", EVENTS.name, 0, 1),
        ("bronze.dead_letters", TRADES.name, 1, 4),
    ):
        place = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, part, offset)])
        admin.alter_consumer_group_offsets([place])[group].result(10)

    told = by_labels([sample for family in Backlog(settings.kafka).read() for sample in family.samples])

    trades = ("bronze.trades", TRADES.name)
    assert told["kafka_backlog_records", *trades] == 2
    assert told["kafka_backlog_age_seconds", *trades] == pytest.approx(3000, abs=30)
    assert told["kafka_backlog_records", "bronze.dead_letters", TRADES.name] == 0
    assert told["kafka_backlog_age_seconds", "bronze.dead_letters", TRADES.name] == 0
    assert told["kafka_backlog_age_seconds", "bronze.ingestion_events", EVENTS.name] == 0
    # Nothing was ever committed of it, so all of it waits.
    assert told["kafka_backlog_age_seconds", "bronze.dead_letters", EVENTS.name] == pytest.approx(50, abs=30)
    assert told["kafka_retention_seconds", TRADES.name] == 7 * 24 * 3600
    assert ("kafka_retention_seconds", topics.PROGRESS.name) not in told


def publish(nessie: Nessie, hour: datetime) -> None:
    """Merge a branch as the end of an hour does."""
    name = branch_name(Hour(hour), dag_id="trades_hourly", run_id="r", attempt_id="a", try_number=1)
    main = nessie.get("main")
    branch = nessie.create(name, at=main.hash, source="main")
    branch = nessie.put_namespace(branch, f"n{hour:%H%M%S}", {"x": "y"}, message="something")
    nessie.merge(branch, into="main", message="Publish", properties={"branch": name})


def test_publications_are_read_from_the_catalogs_history(settings, processes):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    publications = Publications(settings.nessie_api, settings.branch)
    with Nessie(settings.nessie_api) as nessie:
        nessie.put_namespace(nessie.get("main"), "first", {}, message="what the branches have in common")
        publish(nessie, hour)
        publications.read()
        publish(nessie, hour + timedelta(hours=1))

        told = by_labels([sample for family in publications.read() for sample in family.samples])

    end = hour + timedelta(hours=2)
    assert told["gold_published_through_seconds",] == end.timestamp()
    assert told["gold_publish_seconds_count",] == 1
    assert told["gold_publish_seconds_sum",] == pytest.approx((datetime.now(UTC) - end).total_seconds(), abs=60)


@pytest.mark.parametrize("service", ["kafka", "s3"])
def test_a_java_process_tells_of_its_memory_to_this_machine_alone(settings, processes, service: str):
    endpoint: Endpoint = getattr(settings, standard.AGENTS[service].endpoint)

    told = read(f"{endpoint.url}/metrics")

    assert 0 < told["jvm_memory_used_bytes", "heap"] < told["jvm_memory_max_bytes", "heap"]
    listening = [
        each.laddr.ip.removeprefix("::ffff:")
        for each in psutil.Process(processes[service].pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_nessie_tells_of_itself(settings, processes):
    told = read(f"{settings.nessie_management.url}/q/metrics")

    assert any(name == "jvm_memory_used_bytes" and "heap" in labels for name, *labels in told)


def ask(settings: Settings, path: str) -> Any:
    return httpx.get(f"{settings.prometheus.url}/api/v1/{path}").raise_for_status().json()["data"]


def test_prometheus_reads_all_that_runs_and_knows_the_rules_and_whom_to_tell(settings, processes):
    def up() -> set[str]:
        targets = ask(settings, "targets")["activeTargets"]
        return {target["labels"]["service"] for target in targets if target["health"] == "up"}

    eventually(lambda: up() >= set(NAMES), within=60, what="Prometheus to reach all")
    groups = ask(settings, "rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
    assert {group["name"] for group in groups} == {"stream", "lake"}
    receivers = ask(settings, "alertmanagers")["activeAlertmanagers"]
    assert [receiver["url"] for receiver in receivers] == [f"{settings.metrics.url}/api/v2/alerts"]


def test_an_alert_that_prometheus_would_tell_reaches_the_alerts_file(settings, processes):
    alert = {
        "labels": {"alertname": "FeedStalled", "severity": "failure"},
        "annotations": {"summary": "silence", "description": "Read the log.", "runbook": "docs/runbook.md#feedstalled"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(minutes=4)).isoformat(),
    }

    httpx.post(f"{settings.metrics.url}/api/v2/alerts", json=[alert]).raise_for_status()

    [line] = (json.loads(line) for line in settings.alerts_file.read_text().splitlines())
    assert (line["alert"], line["summary"]) == ("FeedStalled", "silence")


WORDS = {"and", "or", "unless", "on", "by", "bool", "ignoring", "group_left", "group_right", "offset", "without"}


def named_in(expression: str) -> set[str]:
    """Name the metrics of a PromQL expression."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", " ", bare)
    return {name for name in re.findall(r"\b[a-zA-Z_]\w*\b(?!\s*\()", bare) if name not in WORDS}


def told_names(text: str) -> set[str]:
    """Name the series that families of an exposition have, whether or not there is any yet."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        family.name + suffix
        for family in text_string_to_metric_families(text)
        for suffix in suffixes.get(family.type, ("",))
    }


def test_no_alert_is_about_something_that_nobody_tells(settings, processes):
    for name in ("kafka", "nessie", "store"):
        wait_for_source(settings, name)
    rules = [
        rule
        for path in standard.RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]

    producer, writer = Metrics("coinbase"), WriterMetrics()
    told = {"up"} | told_names(generate_latest(producer.registry).decode())
    told |= told_names(generate_latest(writer.registry).decode())
    told |= told_names(httpx.get(f"{settings.metrics.url}/metrics").text)
    told |= told_names(httpx.get(f"{settings.kafka_jmx.url}/metrics").text)

    dead = {rule["alert"]: named_in(rule["expr"]) - told for rule in rules if named_in(rule["expr"]) - told}
    assert dead == {}
    assert all(named_in(rule["expr"]) for rule in rules)


def test_prometheus_can_be_brought_to_a_machine_that_has_none(tmp_path, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("prom") else which(name))

    standard.bring_prometheus(tmp_path)

    for name in ("prometheus", "promtool"):
        brought = standard.prometheus_binary(name, tmp_path)
        assert brought is not None
        done = subprocess.run([brought, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(name)


def test_the_service_ends_when_it_is_told_to(settings, processes):
    started = processes["metrics"]
    started.terminate()

    assert started.wait(20) == 0
    assert Path(settings.state_dir / "metrics.log").read_text().count("Traceback") == 0
