import base64
import uuid
from pathlib import Path

import pytest
import yaml

from include.settings import Settings
from stack import services, standard
from stack.java import Java
from stack.layout import Layout
from stack.service import Service
from stack.services import cluster_id
from stack.templates import fill

pytestmark = pytest.mark.unit

SECRETS = dict.fromkeys(
    ("s3_access_key", "s3_secret_key", "postgres_password", "airflow_password", "airflow_jwt_secret",
     "airflow_fernet_key"), "secret",
)  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path):
    java = Java(Path("/java"), 21)

    def make(**choices: object) -> Layout:
        return Layout(Settings(state_dir=tmp_path / "state", tools_dir=tmp_path, **SECRETS, **choices), java, java)

    return make


def names(layout: Layout) -> list[str]:
    return [service.name for service in services.minimal(layout)]


def test_bybit_is_followed_only_where_it_is_asked_for(layout):
    assert "producer-bybit" not in names(layout())
    assert set(names(layout(follow_bybit=True))) - set(names(layout())) == {"producer-bybit"}


def test_coingecko_is_asked_for_prices_only_where_it_is_wanted(layout):
    assert "producer-coingecko" not in names(layout())
    assert set(names(layout(follow_coingecko=True))) - set(names(layout())) == {"producer-coingecko"}


@pytest.mark.parametrize("profile", ["minimal", "standard"])
def test_no_two_services_listen_on_one_port(layout, profile):
    whole = services.of_profile(layout(follow_bybit=True, follow_coingecko=True, profile=profile))
    ports = [port.port for service in whole for port in service.ports]

    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("producer_of", [services.producer_bybit, services.producer_coingecko])
@pytest.mark.parametrize("exchange", ["live", "replica"])
def test_a_producer_waits_for_the_replica_where_it_follows_that(layout, exchange, producer_of):
    producer = producer_of(layout(exchange=exchange))

    assert ("replica" in producer.after) == (exchange == "replica")


@pytest.mark.parametrize("first", [0x00, 0x7F, 0xF8, 0xFB, 0xFF])
def test_the_name_of_a_kafka_cluster_cannot_be_taken_for_an_option(first: int):
    name = cluster_id(uuid.UUID(bytes=bytes([first]) + bytes(range(15))))

    assert not name.startswith("-")
    assert base64.urlsafe_b64decode(name + "==")[1:] == bytes(range(15))


def parts(layout: Layout) -> dict[str, Service]:
    return {service.name: service for service in services.of_profile(layout)}


def test_the_writer_has_the_jars_of_the_store_where_its_checkpoints_are_kept_there(layout):
    told = " ".join(parts(layout(checkpoints="s3"))["bronze-writer"].command)

    assert "/jars/checkpoints/*" in told
    assert "AbortableStreamBasedCheckpointFileManager" in told
    assert "/jars/checkpoints" not in " ".join(parts(layout())["bronze-writer"].command)


def told_of(service: Service) -> str:
    """All by which an agent could reach a process."""
    return " ".join((*service.command, *service.environment.values()))


def test_java_processes_have_an_agent_only_where_prometheus_runs(layout):
    minimal, whole = parts(layout()), parts(layout(profile="standard"))

    assert not [name for name, service in minimal.items() if "-javaagent" in told_of(service)]
    assert {name for name, service in whole.items() if "-javaagent" in told_of(service)} == set(standard.AGENTS)
    assert (
        whole["thrift"].environment["SPARK_SUBMIT_OPTS"].startswith(minimal["thrift"].environment["SPARK_SUBMIT_OPTS"])
    )


def test_airflow_tells_its_metrics_only_where_prometheus_runs(layout):
    minimal, whole = parts(layout()), parts(layout(profile="standard"))

    assert not [name for name, service in minimal.items() if "AIRFLOW__METRICS__OTEL_ON" in service.environment]
    telling = {name for name, service in whole.items() if "AIRFLOW__METRICS__OTEL_ON" in service.environment}
    assert telling == {name for name in whole if name.startswith("airflow-")}


def test_prometheus_reads_every_service_that_tells_something(layout):
    whole = layout(profile="standard", follow_bybit=True, follow_coingecko=True)
    values = whole.template_values() | standard.template_values(whole.settings)
    configuration = yaml.safe_load(fill((standard.RULES.parent / "prometheus.yml").read_text(), values))
    read = {
        (target, group["labels"]["service"])
        for job in configuration["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }

    settings = whole.settings
    agents = {(getattr(settings, agent.endpoint).address, name) for name, agent in standard.AGENTS.items()}
    assert read == agents | {
        (settings.producer_metrics.address, "producer-coinbase"),
        (settings.bybit_metrics.address, "producer-bybit"),
        (settings.coingecko_metrics.address, "producer-coingecko"),
        (settings.bronze_metrics.address, "bronze-writer"),
        (settings.metrics.address, "metrics"),
        (settings.nessie_management.address, "nessie"),
        (settings.prometheus.address, "prometheus"),
    }
    by_name = {service.name: service for service in services.of_profile(whole)}
    for address, name in read:
        assert address in [port.address for port in by_name[name].ports], name


def test_other_rules_start_prometheus_anew(layout, tmp_path, monkeypatch):
    settings = layout(profile="standard").settings
    before = standard.template_values(settings)
    (tmp_path / "stream.yml").write_text("groups: []")
    monkeypatch.setattr(standard, "RULES", tmp_path)

    assert standard.template_values(settings)["PROMETHEUS_RULES_DIGEST"] != before["PROMETHEUS_RULES_DIGEST"]
