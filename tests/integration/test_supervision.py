"""The ingestion is kept as people want it, and what stands still is set going again by nobody's hand."""

from __future__ import annotations

import json
import shlex
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from include.supervisord import State
from tests.drivers.airflow import ENDED, KEY, Airflow
from tests.drivers.demo import PRODUCTS, Demo
from tests.drivers.exchange import Exchange
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake, frame_like
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually
from tests.drivers.webhook import Webhook
from tests.truth import tables
from tests.truth.recorder import wire_time
from tests.truth.tape import HOUR, Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SUPERVISOR, CONTROL = "streaming_supervisor", "streaming_control"
PRODUCER, WRITER = "producer-coinbase", "bronze-writer"
PRODUCT = "BTC-USD"
FETCH = "streaming.coinbase.past"
RAW = "coinbase.raw.trades"


def state(stack: RunningStack, service: str) -> State:
    return stack.supervisor.process(service).state


def wait_for_trades(lake: Lake, tape: Tape, since: datetime, until: datetime) -> None:
    """Wait until Bronze has every trade that was made; the feed may have repeated some."""
    expected = {str(trade.trade_id) for trade in tape.trades(PRODUCT, since, until)}
    of_window = And(
        EqualTo("product_id", PRODUCT), GreaterThanOrEqual("time", wire_time(since)), LessThan("time", wire_time(until))
    )

    def has_all() -> bool:
        return set(lake.rows("bronze.trades", of_window, columns=["trade_id"])["trade_id"]) == expected

    eventually(has_all, within=180, what=f"the {len(expected)} trades of {since} to {until} in Bronze", every=3)


def test_one_run_of_the_supervisor_is_active_and_tells_how_the_ingestion_fares(airflow: Airflow, demo: Demo):
    running = [run for run in airflow.runs_of(SUPERVISOR) if run["state"] not in ENDED]
    assert len(running) <= 1

    health: dict[str, Any] = eventually(
        lambda: airflow.newest_event("ingestion_health"), within=300, what="a report of the supervisor", every=3
    )

    assert health["coinbase"]["answers"]
    assert f"spot/{PRODUCT}" in health["coinbase"]["last_trade_id"]
    assert health["records_behind"].keys() >= {"coinbase.raw.trades", "ingestion.progress"}
    assert health["last_commit"] is not None


@pytest.mark.parametrize("service", [PRODUCER, WRITER])
def test_a_service_that_is_frozen_is_restarted_with_an_alert_and_no_trade_is_lost(
    service: str, stack: RunningStack, lake: Lake, tape: Tape, chat: Webhook
):
    exchange = Exchange(stack)
    posts_before = len(chat.posts)
    since = exchange.now()
    frozen = stack.process(service)
    for process in (*frozen.children(recursive=True), frozen):
        process.send_signal(signal.SIGSTOP)

    eventually(
        lambda: stack.supervisor.process(service).pid not in (0, frozen.pid), within=400, what=f"another {service}"
    )

    eventually(
        lambda: any(f"{service} was restarted" in post["message"] for post in chat.posts[posts_before:]),
        within=30,
        what="the alert",
    )
    wait_for_trades(lake, tape, since, exchange.now())


@pytest.mark.timeout(1500)
def test_a_service_that_is_given_up_is_told_once_and_once_more_when_it_is_well_again(
    airflow: Airflow, stack: RunningStack, chat: Webhook
):
    posts_before = len(chat.posts)
    frozen = stack.process(PRODUCER)

    def told(words: str) -> int:
        return sum(f"{PRODUCER} {words}" in post["message"] for post in chat.posts[posts_before:])

    def rounds() -> set[str]:
        return {run["dag_run_id"] for run in airflow.runs_of(SUPERVISOR) if run["state"] in ENDED}

    airflow.keep_variable("ingestion_restarts", {PRODUCER: [datetime.now(UTC).isoformat()] * 4})
    frozen.suspend()
    try:
        eventually(lambda: told("is given up"), within=400, what="the alert")
        before = rounds()
        eventually(lambda: len(rounds() - before) > 1, within=400, what="another round with the same trouble", every=3)
        assert (told("is given up"), told("was restarted")) == (1, 0)
    finally:
        frozen.resume()

    eventually(lambda: told("is well again"), within=600, what="the end of a whole round without trouble", every=3)
    assert (told("is given up"), told("is well again")) == (1, 1)
    assert airflow.do(CONTROL, {"action": "restart", "service": PRODUCER}, within=180)["state"] == "success"


def test_a_person_is_told_of_a_new_field_while_its_trade_is_kept(stack: RunningStack, lake: Lake, chat: Webhook):
    posts_before = len(chat.posts)
    Exchange(stack).misbehave({"kind": "new_field", "product": PRODUCT, "field": "liquidity"}, seed=1)

    eventually(
        lambda: any("match has a new field liquidity" in post["message"] for post in chat.posts[posts_before:]),
        within=300,
        what="the alert",
    )
    [injected] = Exchange(stack).injected("new_field")
    [trade_id] = injected["trade_ids"]
    same_id = And(EqualTo("product_id", PRODUCT), EqualTo("trade_id", str(trade_id)))
    eventually(
        lambda: (
            injected["frame"] in lake.rows("bronze.trades", same_id, columns=["_raw_payload"])["_raw_payload"].to_list()
        ),
        within=60,
        what="the frame as received",
    )


def test_a_paused_producer_stands_still_until_it_is_resumed_and_then_fetches_what_it_missed(
    airflow: Airflow, stack: RunningStack, lake: Lake, tape: Tape
):
    exchange = Exchange(stack)
    since = exchange.now()

    assert airflow.do(CONTROL, {"action": "pause", "service": PRODUCER}, within=120)["state"] == "success"
    assert state(stack, PRODUCER) is State.STOPPED
    rounds = {run["dag_run_id"] for run in airflow.runs_of(SUPERVISOR)}
    eventually(
        lambda: {run["dag_run_id"] for run in airflow.runs_of(SUPERVISOR)} - rounds, within=300, what="the next round"
    )
    assert state(stack, PRODUCER) is State.STOPPED

    assert airflow.do(CONTROL, {"action": "resume", "service": PRODUCER}, within=120)["state"] == "success"
    assert state(stack, PRODUCER) in (State.STARTING, State.RUNNING)
    wait_for_trades(lake, tape, since, exchange.now())


def cores_of(stack: RunningStack) -> int:
    """Return how many cores Spark says the Bronze writer has."""
    applications = f"{stack.settings.spark_ui.url}/api/v1/applications"
    [application] = httpx.get(applications, timeout=10).raise_for_status().json()
    [driver] = httpx.get(f"{applications}/{application['id']}/executors", timeout=10).raise_for_status().json()
    return int(driver["totalCores"])


def files_of_batches(lake: Lake) -> list[int]:
    """Return how many files each batch of trades wrote, oldest first."""
    snapshots = lake.snapshots("bronze.trades")
    facts = [snapshot.summary.additional_properties for snapshot in snapshots if snapshot.summary]
    return [int(fact.get("added-data-files", 0)) for fact in facts if "spark.sql.streaming.epochId" in fact]


def test_a_writer_that_is_scaled_has_its_cores_after_a_kill_too_and_goes_on_where_it_was(
    airflow: Airflow, stack: RunningStack, lake: Lake, tape: Tape
):
    exchange = Exchange(stack)
    since = exchange.now()
    choice = {"action": "scale", "service": WRITER}

    def has(cores: int) -> bool:
        try:
            return cores_of(stack) == cores
        except (httpx.HTTPError, ValueError):  # it does not answer yet, or has no application yet
            return False

    assert has(1)
    assert airflow.do(CONTROL, choice | {"cores": 2}, within=180)["state"] == "success"
    try:
        eventually(lambda: has(2), within=120, what="a writer with two cores")
        before = len(files_of_batches(lake))
        eventually(lambda: 2 in files_of_batches(lake)[before:], within=120, what="a batch of two files", every=3)
        killed = stack.process(WRITER)
        for process in (*killed.children(recursive=True), killed):
            process.kill()
        eventually(
            lambda: stack.supervisor.process(WRITER).pid not in (0, killed.pid) and has(2),
            within=120,
            what="another writer with two cores",
        )
        wait_for_trades(lake, tape, since, exchange.now())
    finally:
        scaled = airflow.do(CONTROL, choice | {"cores": 1}, within=180)
    assert scaled["state"] == "success"
    eventually(lambda: has(1), within=120, what="a writer with one core")


def test_a_producer_is_not_scaled(airflow: Airflow):
    assert airflow.do(CONTROL, {"action": "scale", "service": PRODUCER, "cores": 2}, within=180)["state"] == "failed"


def test_an_hour_from_before_the_lake_is_fetched_and_built_although_the_fetch_was_killed(
    demo: Demo, airflow: Airflow, kafka: Kafka, lake: Lake, tape: Tape
):
    hour, key = demo.start - HOUR, (demo.start - HOUR).strftime(KEY)
    assert airflow.ended(airflow.trigger(hour), within=180)["state"] == "failed", "nobody has fetched it yet"
    form = {"action": "fetch history", "service": PRODUCER, "hours": 1}
    run_id = airflow.begin(CONTROL, form)

    eventually(lambda: cursor_of(kafka)["since"] == wire_time(hour), within=120, what="the first page to arrive")
    [fetch] = running(demo.stack, FETCH)
    fetch.kill()

    assert airflow.end_of(CONTROL, run_id, within=400)["state"] == "success"
    task = f"/dags/{CONTROL}/dagRuns/{quote(run_id, safe='')}/taskInstances/fetch_history"
    assert airflow.call("GET", task)["try_number"] == 2
    told = airflow.call("GET", f"{task}/xcomEntries/return_value", params={"deserialize": True})["value"]
    assert (told["first_hour"], told["last_hour"]) == (key, key)

    airflow.wait_for_backfills()
    _, _, _, *command = shlex.split(told["backfill"])
    created = demo.stack.command(*command, timeout=180)
    assert created.returncode == 0, created.stdout

    def built() -> dict[str, Any] | None:
        backfilled = (each for each in airflow.runs(hour) if each["run_type"] == "backfill" and each["state"] in ENDED)
        return next(backfilled, None)

    assert eventually(built, within=600, what="the hour's backfill", every=3)["state"] == "success"
    for table, column, truth in (
        ("silver.trades", "trade_time", tables.silver_trades(tape, PRODUCTS, hour, demo.start)),
        ("gold.ohlcv_1m", "window_start", tables.candles(tape, PRODUCTS, hour, demo.start, tables.MINUTE)),
        ("silver.trade_gaps", "hour_start", tables.trade_gaps(tape, PRODUCTS, hour, demo.start)),
    ):
        of_hour = And(GreaterThanOrEqual(column, hour.isoformat()), LessThan(column, demo.start.isoformat()))
        rows = lake.rows(table, of_hour)
        expected = frame_like(truth, rows)
        order = [name for name in ("product_id", "trade_id", "window_start", "first_missing_id") if name in expected]
        assert_frame_equal(rows.select(expected.columns).sort(order), expected.sort(order))


def running(stack: RunningStack, module: str) -> list[psutil.Process]:
    """Return the processes of the stack that run a module; others may come and go meanwhile."""
    found = []
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):
            found += [process] if module in process.cmdline() else []
    return found


def cursor_of(kafka: Kafka) -> dict[str, Any]:
    """Return how far the fetching of the product's history has come."""
    return dict(json.loads(kafka.newest("ingestion.history", f"coinbase/spot/{PRODUCT}")[-1]))


def test_a_drain_that_is_overtaken_by_a_resume_stops_nothing(airflow: Airflow, stack: RunningStack):
    assert airflow.do(CONTROL, {"action": "pause", "service": WRITER}, within=180)["state"] == "success"
    drain = airflow.begin(CONTROL, {"action": "drain", "service": "all"})
    try:
        eventually(lambda: state(stack, PRODUCER) is State.STOPPED, within=120, what="a producer that is drained")
    finally:
        resumed = airflow.do(CONTROL, {"action": "resume", "service": "all"}, within=180)

    assert resumed["state"] == "success"
    assert airflow.end_of(CONTROL, drain, within=180)["state"] == "success"
    assert {state(stack, service) for service in (PRODUCER, WRITER)} <= {State.STARTING, State.RUNNING}


def test_a_drain_leaves_nothing_in_kafka_that_bronze_does_not_have(airflow: Airflow, stack: RunningStack):
    assert airflow.do(CONTROL, {"action": "drain", "service": "all"}, within=180)["state"] == "success"
    try:
        assert {state(stack, service) for service in (PRODUCER, WRITER)} == {State.STOPPED}
    finally:
        resumed = airflow.do(CONTROL, {"action": "resume", "service": "all"}, within=180)
    assert resumed["state"] == "success"
    assert state(stack, WRITER) in (State.STARTING, State.RUNNING)
