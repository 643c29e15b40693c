"""The exchange changes its messages: nothing is lost, and a person hears of it once. A broker, the exchange and its
producer of the stack's own, without Airflow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from include.orchestration.ingestion import DriftCheck, drift_in_words, drift_was_told
from include.settings import CHECKOUT
from streaming.resume import read_told_fields
from tests.drivers.exchange import Exchange
from tests.drivers.kafka import Kafka
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]

PRODUCER = "producer-coinbase"
CHANGED = 3
HURRY = 30
"""At this speed the recording's longest hole is over in 40 seconds."""


@pytest.fixture(scope="module")
def ingestion() -> Iterator[RunningStack]:
    """A producer that follows the stand-in, and the broker that it sends to."""
    state = CHECKOUT / ".lake" / "test-drift"
    shutil.rmtree(state, ignore_errors=True)
    choices = {"LAKE_EXCHANGE": "replica", "LAKE_PRODUCTS": "BTC-USD", "LAKE_HISTORY_HOURS": "1"}
    stack = RunningStack(state, choices)
    try:
        up = stack.command("up", "--only", PRODUCER, timeout=240)
        assert up.returncode == 0, up.stdout
        with Exchange(stack).hurrying(HURRY):
            yield stack
    finally:
        stack.command("down", timeout=120)
        shutil.rmtree(state, ignore_errors=True)


def events(stack: RunningStack, kind: str) -> list[dict[str, Any]]:
    told = map(json.loads, Kafka(stack.settings).newest("ingestion.events", "coinbase/spot"))
    return [event for event in told if event["kind"] == kind]


def frames_heard(stack: RunningStack) -> float:
    """Return how many trades the producer has heard of since it was started; none while it starts."""
    try:
        told = httpx.get(f"{stack.settings.producer_metrics.url}/metrics", timeout=5).text
    except httpx.TransportError:
        return 0
    lines = [line for line in told.splitlines() if line.startswith("ingestion_frames_total") and "matches" in line]
    return float(lines[0].split()[-1]) if lines else 0


def drift(stack: RunningStack, field: str, kind: str = "new_field", times: int | None = None) -> None:
    Exchange(stack).misbehave({"kind": kind, "field": field, "times": times}, seed=5)


def restart(stack: RunningStack) -> None:
    stack.supervisor.stop(PRODUCER)
    stack.supervisor.launch(PRODUCER)


def test_a_new_field_is_kept_as_received_and_told_once_over_restarts(ingestion: RunningStack):
    kafka = Kafka(ingestion.settings)
    drift(ingestion, "liquidity")

    [told] = eventually(lambda: events(ingestion, "new_field"), within=60, what="the event of the field")
    assert (told["message_type"], told["field"], told["got"]) == ("match", "liquidity", "string")
    sent = Exchange(ingestion).injected("new_field")[0]["frame"].encode()
    assert sent in kafka.newest("coinbase.raw.trades", "BTC-USD", among=100_000)
    restart(ingestion)
    already = read_told_fields(ingestion.settings.kafka.address, "coinbase")
    eventually(
        lambda: len(Exchange(ingestion).injected("new_field")) > 20 and frames_heard(ingestion) > 20,
        within=90,
        what="more frames with the field",
    )
    ingestion.supervisor.stop(PRODUCER)

    assert already == {("match", "liquidity")}
    assert len(events(ingestion, "new_field")) == 1
    ingestion.supervisor.launch(PRODUCER)


def test_a_field_of_another_type_makes_dead_letters_and_an_alert_with_their_number(ingestion: RunningStack):
    Exchange(ingestion).behave()
    settings = ingestion.settings
    drift_was_told(settings, sum(Kafka(settings).end_offsets("ingestion.events").values()))
    assert not DriftCheck(settings).look().has_news
    drift(ingestion, "price", "changed_type", CHANGED)

    eventually(lambda: events(ingestion, "changed_type"), within=90, what="the event of the type")
    letters = eventually(
        lambda: Kafka(settings).newest("coinbase.dlq", "coinbase")[CHANGED - 1 :], within=30, what="all dead letters"
    )
    check = DriftCheck(settings)
    reading = check.look()

    sent = [injected["frame"].encode() for injected in Exchange(ingestion).injected("changed_type")]
    assert letters == sent[CHANGED - 1 :]
    assert reading.has_news
    [found] = reading.facts["drift"]
    assert drift_in_words(found).startswith(
        "coinbase: match has another type in price, number where str was expected: "
    )
    assert 1 <= found["count"] <= CHANGED
    drift_was_told(settings, reading.facts["drift_told_through"])
    assert not DriftCheck(settings).look().has_news
