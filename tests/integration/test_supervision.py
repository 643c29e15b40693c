"""The ingestion is kept as people want it, and what stands still is set going again by nobody's hand."""

from __future__ import annotations

import signal
from datetime import datetime
from typing import Any

import pytest
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from include.supervisord import State
from tests.drivers.airflow import ENDED, Airflow
from tests.drivers.demo import Demo
from tests.drivers.exchange import Exchange
from tests.drivers.lake import Lake
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually
from tests.drivers.webhook import Webhook
from tests.truth.recorder import wire_time
from tests.truth.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SUPERVISOR, CONTROL = "streaming_supervisor", "streaming_control"
PRODUCER, WRITER = "producer-coinbase", "bronze-writer"
PRODUCT = "BTC-USD"


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


def test_a_drain_leaves_nothing_in_kafka_that_bronze_does_not_have(airflow: Airflow, stack: RunningStack):
    assert airflow.do(CONTROL, {"action": "drain", "service": "all"}, within=180)["state"] == "success"
    try:
        assert {state(stack, service) for service in (PRODUCER, WRITER)} == {State.STOPPED}
    finally:
        resumed = airflow.do(CONTROL, {"action": "resume", "service": "all"}, within=180)
    assert resumed["state"] == "success"
    assert state(stack, WRITER) in (State.STARTING, State.RUNNING)
