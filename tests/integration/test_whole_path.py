"""From the exchange's wire to audited candles: every row of it, against a truth that our code had no part in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal
from prometheus_client.parser import text_string_to_metric_families
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from include.contracts.topics import topics_of
from stack import class_archive
from stack.lifecycle import layout_of
from tests.drivers.airflow import Airflow
from tests.drivers.demo import PRODUCTS, Demo
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake, frame_like
from tests.drivers.waiting import eventually
from tests.truth import tables
from tests.truth.tape import HOUR, Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

RAW_TABLES = {
    "coinbase.raw.trades": "bronze.trades",
    "coinbase.raw.tickers": "bronze.tickers",
    "coinbase.raw.status": "bronze.exchange_status",
}


def hours_of(demo: Demo, column: str) -> And:
    return And(GreaterThanOrEqual(column, demo.start.isoformat()), LessThan(column, demo.end.isoformat()))


def test_the_demo_publishes_each_hour_of_the_recording_with_one_run(demo: Demo, airflow: Airflow):
    states = {hour: [run["state"] for run in airflow.runs(hour)] for hour in demo.hours}

    assert states == {hour: ["success"] for hour in demo.hours}


def test_the_demo_ends_with_candles_completeness_and_addresses(demo: Demo):
    newest = demo.hours[-1]

    assert f"{newest:%Y-%m-%d %H}" in demo.printed or f"{newest:%Y-%m-%dT%H}" in demo.printed
    assert "gap" in demo.printed
    assert demo.stack.settings.airflow.url in demo.printed


def test_silver_has_the_trades_of_the_recording_row_for_row(demo: Demo, lake: Lake, tape: Tape):
    silver = lake.rows("silver.trades", hours_of(demo, "trade_time")).sort("product_id", "trade_id")
    truth = frame_like(tables.silver_trades(tape, PRODUCTS, demo.start, demo.end), silver)

    assert_frame_equal(silver.select(truth.columns), truth)


@pytest.mark.parametrize(
    ("table", "width"),
    [("gold.ohlcv_1m", tables.MINUTE), ("gold.ohlcv_5m", 5 * tables.MINUTE), ("gold.ohlcv_1h", HOUR)],
)
def test_every_candle_is_that_of_the_recording(table, width, demo: Demo, lake: Lake, tape: Tape):
    candles = lake.rows(table, hours_of(demo, "window_start")).sort("product_id", "window_start")
    truth = frame_like(tables.candles(tape, PRODUCTS, demo.start, demo.end, width), candles)

    assert truth.columns == candles.columns
    assert_frame_equal(candles, truth)


@pytest.mark.parametrize(("table", "width"), [("gold.ohlcv_4h", 4 * HOUR), ("gold.ohlcv_1d", 24 * HOUR)])
def test_a_candle_of_many_hours_is_that_of_those_that_are_published(table, width, lake: Lake, tape: Tape):
    ref = f"main@{lake.references()['main']}"
    hours = lake.rows("silver.product_hours", columns=["hour_start"], ref=ref)["hour_start"].unique()
    candles = lake.rows(table, ref=ref).sort("product_id", "window_start")
    truth = frame_like(tables.wide_candles(tape, PRODUCTS, hours, width), candles)

    assert truth.columns == candles.columns
    assert_frame_equal(candles, truth)


def test_the_ledger_names_every_missing_id(demo: Demo, lake: Lake, tape: Tape):
    ledger = lake.rows("silver.trade_gaps", hours_of(demo, "hour_start"))
    ledger = ledger.sort("product_id", "hour_start", "first_missing_id")
    truth = frame_like(tables.trade_gaps(tape, PRODUCTS, demo.start, demo.end), ledger)

    assert_frame_equal(ledger.select(truth.columns), truth)
    assert set(ledger["state"]) <= {"open", "unavailable"}, "the exchange has none of these trades"


def test_a_day_is_measured_over_its_published_hours(lake: Lake, tape: Tape):
    ref = f"main@{lake.references()['main']}"
    hours = lake.rows("silver.product_hours", columns=["hour_start"], ref=ref)["hour_start"].unique()
    days = lake.rows("gold.daily_metrics", ref=ref).sort("product_id", "date")
    days = days.with_columns(pl.col("volatility", "max_drawdown").cast(pl.Float64))
    truth = frame_like(tables.daily_metrics(tape, PRODUCTS, hours), days)

    # Only the two measures are floats, and those the table rounds to 12 places.
    assert truth.columns == days.columns
    assert_frame_equal(days, truth, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)


def test_the_latest_price_is_that_of_the_newest_published_trade(lake: Lake, tape: Tape):
    ref = f"main@{lake.references()['main']}"
    hours = lake.rows("silver.product_hours", columns=["hour_start"], ref=ref)["hour_start"]
    latest = lake.rows("gold.price_latest", ref=ref).sort("product_id")
    truth = frame_like(tables.price_latest(tape, PRODUCTS, hours.min(), hours.max() + HOUR), latest)

    assert_frame_equal(latest, truth)


def test_each_offset_of_a_raw_topic_is_one_row_of_bronze_or_one_dead_letter(lake: Lake, kafka: Kafka):
    ends = {topic: kafka.end_offsets(topic) for topic in RAW_TABLES}

    def behind() -> dict[str, dict[int, int]]:
        """The places of `ends` that Bronze has not reached yet."""
        return {
            topic: {
                partition: reached
                for partition, reached in kafka.committed(table, topic).items()
                if reached < ends[topic][partition]
            }
            for topic, table in RAW_TABLES.items()
        }

    eventually(lambda: not any(behind().values()), within=180, what="Bronze to reach the topics' ends", every=5)
    columns = ("_kafka_topic", "_kafka_partition", "_kafka_offset")
    dead = lake.rows("bronze.dead_letters", columns=columns)
    for topic, table in RAW_TABLES.items():
        rows = pl.concat([lake.rows(table, columns=columns), dead]).filter(pl.col("_kafka_topic") == topic)
        for partition, end in ends[topic].items():
            offsets = rows.filter(pl.col("_kafka_partition") == partition)["_kafka_offset"].sort()
            assert offsets.to_list() == list(range(offsets.len())), f"{topic} {partition}: doubled or missing"
            assert offsets.len() >= end, f"{topic} {partition}: Bronze says more than it holds"


def test_the_stream_vouches_for_its_offsets_only_after_they_are_in_the_table(lake: Lake, kafka: Kafka):
    committed = kafka.committed("bronze.trades", "coinbase.raw.trades")
    rows = lake.rows("bronze.trades", columns=["_kafka_partition", "_kafka_offset"])
    held = dict(rows.group_by("_kafka_partition").agg(pl.col("_kafka_offset").max() + 1).iter_rows())

    assert all(held.get(partition, 0) >= offset for partition, offset in committed.items())


def test_the_writer_tells_prometheus_what_it_took_and_how_long_that_was(demo: Demo, kafka: Kafka):
    topics = topics_of("bronze.trades")

    def told() -> dict[tuple[str, ...], float]:
        answer = httpx.get(f"{demo.stack.settings.bronze_metrics.url}/metrics").raise_for_status().text
        samples = (sample for family in text_string_to_metric_families(answer) for sample in family.samples)
        return {(each.name, *(value for _, value in sorted(each.labels.items()))): each.value for each in samples}

    committed = sum(sum(kafka.committed("bronze.trades", topic.name).values()) for topic in topics)
    taken = eventually(
        lambda: (
            (now := told()).get(("bronze_batch_records_sum", "bronze.trades"), 0) >= committed
            and now["bronze_event_seconds_count",] > 0
            and now
        ),
        within=60,
        what="the writer to tell its batches, live trades among them",
    )
    there = sum(sum(kafka.end_offsets(topic.name).values()) for topic in topics)

    assert 0 < committed <= taken["bronze_batch_records_sum", "bronze.trades"] <= there
    assert taken["bronze_event_seconds_count",] < committed
    assert taken["bronze_batch_seconds_sum", "bronze.trades"] > 0
    places = {tuple(labels) for name, *labels in taken if name == "bronze_lag_records"}
    assert {(str(part), "bronze.trades", topic.name) for topic in topics for part in range(topic.partitions)} <= places


def test_sparks_processes_map_their_classes_from_one_archive(demo: Demo):
    archive = str(class_archive.path(layout_of(demo.stack.settings)).resolve())

    for service in ("thrift", "bronze-writer"):
        started = demo.stack.process(service)
        mapped = {mapping.path for process in (started, *started.children(recursive=True)) for mapping in maps(process)}
        assert archive in mapped, service


def maps(process: psutil.Process) -> list[Any]:
    """Return the files that a process has in its memory; none of one that has ended."""
    with suppress(psutil.NoSuchProcess):
        return list(process.memory_maps())
    return []
