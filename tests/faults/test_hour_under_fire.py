"""An hour of the live feed in which everything goes wrong is published as if nothing had happened.

The exchange's time hurries through what is left of the running hour. First its feed misbehaves; then connections are
cut, REST refuses, and the producer and the Bronze writer are killed with SIGKILL in mid-flow.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan, LessThanOrEqual

from include.orchestration.fencing import Fence
from tests.drivers.airflow import Airflow
from tests.drivers.demo import PRODUCTS
from tests.drivers.exchange import Exchange
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake, frame_like
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually
from tests.truth import tables
from tests.truth.recorder import wire_time
from tests.truth.recording import twice
from tests.truth.tape import HOUR, Tape, hour_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

SECONDS = 180
"""How long the rest of the hour takes: long enough for every restart, whatever the minute."""
ENOUGH_TRADES = 3000
PRODUCT = "BTC-USD"
PASSED_OVER = 5
GARBLED = tuple(f"garbled {number}".encode() for number in range(8))
"""Records of the raw topic that no producer of ours would send."""
BAD_FEED = (
    {"kind": "skip", "chance": 0.004, "count": 3, "times": None},
    {"kind": "repeat", "chance": 0.01, "copies": 2, "times": None},
    {"kind": "reorder", "chance": 0.005, "count": 4, "times": None},
    {"kind": "late", "chance": 0.001, "seconds": 300, "times": None},
    {"kind": "stale", "chance": 0.01, "seconds": 3600, "times": None},
    {"kind": "broken", "chance": 0.004, "times": None},
    {"kind": "broken", "chance": 0.004, "times": None, "instead": True},
    {"kind": "unknown", "chance": 0.004, "times": None},
)
BAD_CONNECTIONS = (
    {"kind": "drop", "chance": 0.002, "times": 4},
    {"kind": "too_many_requests", "chance": 0.4, "times": None},
    {"kind": "failure", "chance": 0.3, "times": None},
)


@dataclass(frozen=True)
class Fire:
    """What happened, on the exchange's clock.

    Args:
        passed_over: Ids of `PRODUCT` that a producer was told to have seen, and never saw.
        run: The run that built the hour.
    """

    began: datetime
    hour: datetime
    injected: dict[str, list[dict[str, Any]]]
    passed_over: range
    run: dict[str, Any]

    @property
    def end(self) -> datetime:
        """The end of the hour."""
        return self.hour + HOUR


@pytest.fixture(scope="module")
def fire(stack: RunningStack, lake: Lake, kafka: Kafka, airflow: Airflow, tape: Tape) -> Fire:
    """Let everything go wrong until the hour is over, and build it."""
    exchange = Exchange(stack)
    now = exchange.now()
    hour = hour_of(now)
    if not is_busy(tape, now, hour + HOUR):
        hour += HOUR
    began = max(now, hour)
    left = hour + HOUR - began

    def past(share: float) -> None:
        moment = began + share * left
        eventually(lambda: exchange.now() >= moment, within=2 * SECONDS, what=f"{moment} on the exchange", every=0.5)

    with exchange.hurrying(max(1.0, left.total_seconds() / SECONDS)):
        past(0.0)
        exchange.misbehave(*BAD_FEED, seed=3)
        past(0.3)
        exchange.behave()
        eventually(lambda: is_lively(tape, exchange.now()), within=SECONDS, what="trades", every=0.2)
        passed_over = pass_over(stack, kafka)
        past(0.35)
        exchange.misbehave(*BAD_CONNECTIONS, seed=4)
        held = kafka.committed("bronze.trades", "coinbase.raw.trades")
        kafka.produce("coinbase.raw.trades", PRODUCT, GARBLED[:4])
        eventually(lambda: kafka.committed("bronze.trades", "coinbase.raw.trades") != held, within=60, what="a batch")
        kafka.produce("coinbase.raw.trades", PRODUCT, GARBLED[4:])
        held = kafka.committed("bronze.trades", "coinbase.raw.trades")
        stack.kill("bronze-writer")
        past(0.5)
        stack.kill("producer-coinbase")
        past(0.6)
        stack.kill("producer-coinbase")
        eventually(
            lambda: kafka.committed("bronze.trades", "coinbase.raw.trades") != held,
            within=SECONDS,
            what="the new writer to write",
        )
        stack.kill("bronze-writer", whole=True)
        past(0.9)
        exchange.behave()
        past(1.0)
        eventually(lambda: exchange.now() >= hour + HOUR + timedelta(seconds=5), within=60, what="the next hour")
        kinds = {str(fault["kind"]) for fault in (*BAD_FEED, *BAD_CONNECTIONS)}
        injected = {kind: exchange.injected(kind) for kind in kinds}
    wait_until_bronze_holds(hour + HOUR, lake, kafka, tape)
    run = airflow.ended(airflow.trigger(hour), within=600)
    return Fire(began, hour, injected, passed_over, run)


def test_the_feed_misbehaved_in_every_way(fire: Fire):
    assert {kind for kind, found in fire.injected.items() if not found} == set()


def test_bronze_has_every_trade_and_every_offset_once(fire: Fire, lake: Lake, tape: Tape):
    of_window = And(GreaterThanOrEqual("time", wire_time(fire.began)), LessThan("time", wire_time(fire.end)))
    rows = lake.rows("bronze.trades", of_window, columns=["product_id", "trade_id"])
    truth = {
        (trade.product_id, str(trade.trade_id))
        for product in tape.products
        for trade in tape.trades(product, fire.began, fire.end)
    }

    assert set(rows.iter_rows()) == truth
    for partition, offsets in offsets_of(lake).items():
        assert offsets == list(range(len(offsets))), f"partition {partition}: doubled or missing"


def test_trades_that_the_feed_left_out_come_from_rest(fire: Fire, lake: Lake, tape: Tape, recording: Path):
    skipped = {(s["product_id"], str(trade_id)) for s in fire.injected["skip"] for trade_id in s["trade_ids"]}
    stored = lake.rows("bronze.trades", columns=["product_id", "trade_id"])
    repaired = lake.rows("bronze.trades", EqualTo("_source", "rest"), columns=["product_id", "trade_id"])

    assert skipped <= set(stored.iter_rows())
    # Where the recording has a frame twice and only one of them was skipped, the trade came by the feed.
    by_feed = skipped - set(repaired.iter_rows())
    assert {(product, tape.recorded_id(product, int(trade_id))) for product, trade_id in by_feed} <= twice(recording)


def test_the_dead_letters_are_the_broken_frames_byte_for_byte(fire: Fire, lake: Lake):
    letters = letters_of("coinbase.dlq", lake)

    assert Counter(letters["frame"]) == Counter(broken["frame"].encode() for broken in fire.injected["broken"])
    assert (letters["reason"] != "").all()


def test_what_no_producer_sent_is_a_dead_letter_once(fire: Fire, lake: Lake):
    letters = letters_of("coinbase.raw.trades", lake)

    assert Counter(letters["frame"]) == Counter(GARBLED)
    assert set(letters["reason"]) == {"not one JSON object"}


def test_what_the_producer_passed_over_is_found_and_fetched_by_the_hour(fire: Fire, airflow: Airflow, lake: Lake):
    told = airflow.result_of(fire.run["dag_run_id"], "repair_gaps")
    stored = lake.rows(
        "bronze.trades", And(EqualTo("product_id", PRODUCT), EqualTo("_source", "rest")), columns=["trade_id"]
    )

    asked = {range(hole["first_missing_id"], hole["last_missing_id"] + 1) for hole in told}
    assert any(set(fire.passed_over) <= set(ids) for ids in asked)
    assert {str(trade_id) for trade_id in fire.passed_over} <= set(stored["trade_id"])


def test_the_hour_is_published_exactly(fire: Fire, lake: Lake, tape: Tape):
    assert fire.run["state"] == "success"

    low, high = fire.hour.isoformat(), fire.end.isoformat()
    silver = lake.rows("silver.trades", And(GreaterThanOrEqual("trade_time", low), LessThan("trade_time", high)))
    silver = silver.sort("product_id", "trade_id")
    truth = frame_like(tables.silver_trades(tape, PRODUCTS, fire.hour, fire.end), silver)
    assert_frame_equal(silver.select(truth.columns), truth)

    # The hour is judged as soon as it is closed: of a hole that goes on, only the beginning is known then.
    for table, width in (
        ("gold.ohlcv_1m", tables.MINUTE),
        ("gold.ohlcv_5m", 5 * tables.MINUTE),
        ("gold.ohlcv_1h", HOUR),
    ):
        of_hour = And(GreaterThanOrEqual("window_start", low), LessThan("window_start", high))
        candles = lake.rows(table, of_hour).sort("product_id", "window_start")
        truth = frame_like(tables.candles(tape, PRODUCTS, fire.hour, fire.end, width, known_by=fire.end), candles)
        assert_frame_equal(candles, truth)
    ledger = lake.rows("silver.trade_gaps", EqualTo("hour_start", low)).sort("product_id", "first_missing_id")
    progress = lake.rows("bronze.ingestion_progress", LessThanOrEqual("closed_through", low))
    holes = tables.trade_gaps(tape, PRODUCTS, fire.hour, fire.end, known_by=fire.end)
    truth = frame_like([hole | {"gap_from": proven_start(hole, progress)} for hole in holes], ledger)
    assert_frame_equal(ledger.select(truth.columns), truth)


def proven_start(hole: Mapping[str, Any], progress: pl.DataFrame) -> datetime:
    """Return when a hole can have begun at the earliest.

    That is at the last trade before it, or later: where the last progress before the hour still knew of no later trade.

    Args:
        hole: A row of the ledger's truth.
        progress: What was said of all products before the hour.
    """
    said = progress.filter(product_id=hole["product_id"]).sort("closed_through", "last_trade_id").tail(1)
    last: datetime = hole["gap_from"]
    for closed_through, trade_id in said.select("closed_through", "last_trade_id").iter_rows():
        if trade_id == hole["first_missing_id"] - 1:
            last = max(last, closed_through)
    return last


def letters_of(topic: str, lake: Lake) -> pl.DataFrame:
    """Return the frame and the reason of each dead letter from a topic."""
    letters = lake.rows("bronze.dead_letters", columns=["_kafka_topic", "_raw_bytes_base64", "reason"])
    decoded = pl.col("_raw_bytes_base64").map_elements(base64.b64decode, pl.Binary).alias("frame")
    return letters.filter(pl.col("_kafka_topic") == topic).select(decoded, "reason")


def is_lively(tape: Tape, now: datetime) -> bool:
    """Whether so much is traded next that a few trades can be passed over before a stopped producer is back."""
    return len(tape.trades(PRODUCT, now, now + timedelta(seconds=30))) > 4 * PASSED_OVER


def pass_over(stack: RunningStack, kafka: Kafka) -> range:
    """Make a producer believe that it has seen trades which it has not; return their ids.

    What it believes is its newest progress; a damaged topic would do this. It ends a little behind what was sent.
    """
    key = f"coinbase/spot/{PRODUCT}"
    # Else the supervisor might find the producer down and start it.
    with Fence(stack.state / "leases" / "ingestion.json").intervening():
        stack.supervisor.stop("producer-coinbase")
        progress = json.loads(kafka.newest("ingestion.progress", key)[-1])
        last = max(int(json.loads(trade)["trade_id"]) for trade in kafka.newest("coinbase.raw.trades", PRODUCT))
        believed = json.dumps(progress | {"last_trade_id": last + PASSED_OVER}).encode()
        kafka.produce("ingestion.progress", key, [believed], (("venue", "coinbase"), ("market", "spot")))
        stack.supervisor.launch("producer-coinbase")
    return range(last + 1, last + PASSED_OVER + 1)


def is_busy(tape: Tape, start: datetime, end: datetime) -> bool:
    """Whether enough is traded while each kind of fault is armed that all are sure to strike: recordings have holes."""

    def traded(since: float, until: float) -> int:
        low, high = start + since * (end - start), start + until * (end - start)
        return sum(len(tape.trades(product, low, high)) for product in tape.products)

    return min(traded(0.0, 0.3), traded(0.35, 0.9)) >= ENOUGH_TRADES


def wait_until_bronze_holds(moment: datetime, lake: Lake, kafka: Kafka, tape: Tape) -> None:
    """Wait until every trading product is closed through a moment, and Bronze has what came until then."""

    def is_closed() -> bool:
        since = GreaterThanOrEqual("closed_through", moment.isoformat())
        return set(tape.products) <= set(lake.rows("bronze.ingestion_progress", since)["product_id"])

    eventually(is_closed, within=300, what=f"progress through {moment}", every=5)
    for topic, table in (
        ("coinbase.raw.trades", "bronze.trades"),
        ("coinbase.raw.trades", "bronze.dead_letters"),
        ("coinbase.dlq", "bronze.dead_letters"),
    ):
        ends = kafka.end_offsets(topic)

        def has_caught_up(topic: str = topic, table: str = table, ends: dict[int, int] = ends) -> bool:
            reached = kafka.committed(table, topic)
            return all(reached[partition] >= end for partition, end in ends.items())

        eventually(has_caught_up, within=300, what=f"{table} to reach {json.dumps(ends)}", every=5)


def offsets_of(lake: Lake) -> dict[int, list[int]]:
    """Return the offsets of raw trades that Bronze holds, as trades or as dead letters, by partition."""
    columns = ("_kafka_topic", "_kafka_partition", "_kafka_offset")
    rows = pl.concat([lake.rows(table, columns=columns) for table in ("bronze.trades", "bronze.dead_letters")])
    rows = rows.filter(pl.col("_kafka_topic") == "coinbase.raw.trades").sort("_kafka_offset")
    by_partition = rows.group_by("_kafka_partition", maintain_order=True).agg("_kafka_offset")
    return dict(by_partition.iter_rows())
