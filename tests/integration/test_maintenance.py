"""The daily maintenance beside the stream: fewer files, the same rows, and every branch and tag still reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from include.contracts import TABLES
from include.orchestration.nessie import Nessie
from tests.drivers.airflow import Airflow
from tests.drivers.demo import Demo
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake
from tests.drivers.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DAG = "iceberg_maintenance"
COMPACTED = ("bronze.trades", "silver.trades", "gold.ohlcv_1m")
BY_HOUR = ("silver.trades", "silver.product_hours", "gold.ohlcv_1m", "gold.ohlcv_1h")
OLD = timedelta(days=4).total_seconds()
"""Seconds; older than what a sweep leaves alone."""


def warehouse(demo: Demo) -> Path:
    """Return the store's folder of all tables."""
    return demo.stack.state / "data" / "s3" / demo.stack.settings.bucket / "warehouse"


def rows(lake: Lake, table: str, ref: str = "main") -> pl.DataFrame:
    frame = lake.rows(table, ref=ref)
    return frame.sort(frame.columns)


def row_counts(lake: Lake, ref: str) -> dict[str, int]:
    """Read every table of a branch or tag, all its rows."""
    with lake.catalog(ref) as catalog:
        there = [".".join(name) for space in catalog.list_namespaces() for name in catalog.list_tables(space)]
    known = {table.full_name: table.grain for table in TABLES}
    return {name: lake.rows(name, columns=known[name], ref=ref).height for name in there if name in known}


@pytest.fixture
def tag(demo: Demo) -> Iterator[str]:
    """A tag that a person made before the maintenance."""
    settings = demo.stack.settings
    with Nessie(settings.nessie_api) as nessie:
        main = nessie.get("main")
        made = nessie.create("before-maintenance", at=main.hash, source="main", type="TAG")
        yield made.name
        nessie.delete(made)


def test_files_become_few_and_rows_stay_beside_a_stream_that_goes_on(
    demo: Demo, airflow: Airflow, lake: Lake, kafka: Kafka, tag: str
):
    airflow.calm(timedelta(minutes=5))
    before = {table: rows(lake, table) for table in BY_HOUR}
    counts = {ref: row_counts(lake, ref) for ref in lake.references() if ref.startswith(("failed-", tag))}
    # As if all had been written days ago: what the sweep spares, it spares because something reaches it.
    lost = warehouse(demo) / "silver" / "lost" / "data" / "lost.parquet"
    lost.parent.mkdir(parents=True)
    lost.write_bytes(b"of a task that was killed")
    for file in warehouse(demo).rglob("*"):
        if file.is_file():
            os.utime(file, (time.time() - OLD, time.time() - OLD))
    young = lost.with_name("young.parquet")
    young.write_bytes(b"of a task that is running")

    upto = datetime.now(UTC) + timedelta(hours=1)
    asked = {"tables": list(COMPACTED), "settled_before": upto.isoformat()}
    run = airflow.do(DAG, asked, within=700)
    taken = kafka.committed("bronze.trades", "coinbase.raw.trades")

    assert run["state"] == "success"
    reports = {table: report(airflow, run, table) for table in COMPACTED}
    for told in reports.values():
        assert told["after"]["files"] < told["before"]["files"]
    for table in ("silver.trades", "gold.ohlcv_1m"):
        assert reports[table]["after"]["rows"] == reports[table]["before"]["rows"]
    for table, frame in before.items():
        assert_frame_equal(rows(lake, table), frame)
    assert (lost.exists(), young.exists()) == (False, True)
    young.unlink()
    swept = airflow.result_of(run["dag_run_id"], "sweep", dag=DAG)
    assert swept["files_deleted"] >= 1

    for ref in lake.references():
        if ref.startswith(("failed-", "day-", tag)):
            assert row_counts(lake, ref) == counts.get(ref, row_counts(lake, "main"))

    def goes_on() -> bool:
        now = kafka.committed("bronze.trades", "coinbase.raw.trades")
        return any(now[partition] > taken[partition] for partition in taken)

    eventually(goes_on, within=120, what="the stream's next batch", every=3)
    assert demo.stack.process("bronze-writer").create_time() < datetime.fromisoformat(run["start_date"]).timestamp()
    offsets = lake.rows("bronze.trades", columns=["_kafka_topic", "_kafka_partition", "_kafka_offset"])
    assert offsets.is_unique().all()
    for partition, end in kafka.committed("bronze.trades", "coinbase.raw.trades").items():
        there = offsets.filter(pl.col("_kafka_partition") == partition, pl.col("_kafka_topic") == "coinbase.raw.trades")
        dead = lake.rows("bronze.dead_letters", columns=["_kafka_topic", "_kafka_partition"]).filter(
            pl.col("_kafka_partition") == partition, pl.col("_kafka_topic") == "coinbase.raw.trades"
        )
        assert there.height + dead.height >= end


def report(airflow: Airflow, run: dict[str, str], table: str) -> dict[str, dict[str, int]]:
    """Return what the task of a table told."""
    group = "beside_the_stream" if table.startswith("bronze.") else "by_turn"
    return dict(airflow.result_of(run["dag_run_id"], f"{group}.{table.replace('.', '_')}", dag=DAG))
