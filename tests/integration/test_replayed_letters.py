"""Dead letters in the hands of a person: listed, shown and replayed from Airflow, each exactly once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.kafka import Kafka, received
from tests.drivers.lake import Lake
from tests.drivers.waiting import eventually
from tests.truth.recorder import wire_time
from tests.truth.recording import TAKER
from tests.truth.tape import HOUR, Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DAG, DLQ = "dead_letters", "coinbase.dlq"
PRODUCT = "BTC-USD"
REASON = "the parser of that day could not read it"
FORM: dict[str, Any] = {
    "action": "list",
    "venue": "any",
    "reason": REASON,
    "since": None,
    "until": None,
    "offsets": "",
}
READABLE = 5


@pytest.fixture(scope="module")
def frames(demo: Demo, tape: Tape) -> list[bytes]:
    """Frames of trades of a published hour, and one that nobody can read."""
    trades = tape.trades(PRODUCT, demo.start, demo.start + HOUR)[:READABLE]
    good = [
        json.dumps(
            {
                "type": "match",
                "trade_id": trade.trade_id,
                "product_id": PRODUCT,
                "price": str(trade.price),
                "size": str(trade.size),
                "side": TAKER[trade.side],
                "time": wire_time(trade.time),
            }
        ).encode()
        for trade in trades
    ]
    return [*good, good[0][:50]]


@pytest.fixture(scope="module")
def buried(demo: Demo, kafka: Kafka, lake: Lake, frames: list[bytes]) -> range:
    """Offsets of the frames in the topic of dead letters; Bronze has them."""
    first = kafka.end_offsets(DLQ)[0]
    headers = received(demo.start) | {"reason": REASON}
    kafka.produce(DLQ, "coinbase", frames, headers.items())
    eventually(
        lambda: len(lake.rows("bronze.dead_letters", EqualTo("reason", REASON))) == len(frames),
        within=120,
        what="the letters in Bronze",
    )
    return range(first, first + len(frames))


def run(airflow: Airflow, **choices: Any) -> dict[str, Any]:
    done = airflow.do(DAG, FORM | choices, within=240)
    assert done["state"] == "success"
    return done


def test_letters_are_counted_by_venue_and_reason_in_the_runs_note(airflow: Airflow, buried: range):
    count, line = run(airflow)["note"].splitlines()

    assert count == f"{len(buried)} letters"
    assert line.startswith(f"coinbase: {len(buried)} since ")
    assert line.endswith(REASON)


def test_a_letter_is_shown_whole(airflow: Airflow, buried: range, frames: list[bytes]):
    shown = run(airflow, action="inspect", offsets=f"{DLQ}/0/{buried[1]}")

    task = f"/dags/{DAG}/dagRuns/{shown['dag_run_id']}/taskInstances/inspect_letters"
    log = airflow.call("GET", f"{task}/logs/1", params={"full_content": True})["content"]
    assert [line for line in log if frames[1].decode() in line.get("event", "")]
    assert airflow.call("GET", f"{task}/xcomEntries/return_value", params={"deserialize": True})["value"] == 1


def test_what_can_be_read_now_is_replayed_once_and_its_published_hour_is_named(
    demo: Demo, airflow: Airflow, lake: Lake, buried: range, frames: list[bytes]
):
    first, again = (run(airflow, action="replay")["note"] for _ in range(2))

    done, hours, stays = first.splitlines()
    assert done == f"{READABLE} replayed, 1 stays"
    assert hours == f"of published hours: {demo.start.strftime(KEY)}"
    assert stays.startswith("1 stay: ")
    assert again.splitlines()[0] == f"{READABLE} replayed before, 1 stays"
    assert "hours" not in again

    def in_bronze() -> list[str]:
        rows = lake.rows("bronze.trades", EqualTo("product_id", PRODUCT), columns=["_raw_payload"])
        return sorted(payload for payload in rows["_raw_payload"] if payload.encode() in frames)

    eventually(lambda: len(in_bronze()) >= READABLE, within=60, what="the replayed trades in Bronze")
    assert in_bronze() == sorted(frame.decode() for frame in frames[:READABLE])
