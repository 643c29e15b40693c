"""What Airflow tells of a published hour: the facts of each table, and the way from the exchange's topics to it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThan

from include.contracts.table import Layer
from include.orchestration.announcing import TABLES
from tests.drivers.airflow import Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_each_table_of_a_published_hour_tells_how_it_came_about(demo: Demo, airflow: Airflow, lake: Lake):
    hour = demo.hours[-1]
    for run in airflow.runs(hour):
        airflow.ended(run["dag_run_id"], within=120)
    events = {table.full_name: airflow.event_of(table.full_name, hour) for table in TABLES}

    published = {event["nessie_hash_after"] for event in events.values()}
    assert len(published) == 1
    ref = f"main@{published.pop()}"
    with lake.catalog(ref) as catalog:
        snapshots = {name: catalog.load_table(name).metadata.current_snapshot_id for name in events}
    assert {name: event["snapshot_id"] for name, event in events.items()} == {
        name: None if snapshot is None else str(snapshot) for name, snapshot in snapshots.items()
    }

    of_hour = And(
        GreaterThanOrEqual("window_start", hour.isoformat()), LessThan("window_start", (hour + HOUR).isoformat())
    )
    statuses = lake.rows("gold.ohlcv_1m", of_hour, columns=["status"], ref=ref)["status"].to_list()
    for event in events.values():
        assert event["minutes_gap"] == statuses.count("gap")
        assert event["completeness"] == pytest.approx(1 - statuses.count("gap") / len(statuses), abs=1e-4)
        assert 0 < event["duration_s"] < 900
        assert (event["bytes"] > 0) == (event["rows"] > 0)
        assert event["bronze_offsets"]["coinbase.raw.trades"]
    assert events["gold.ohlcv_1m"]["rows"] == len(statuses)
    assert 0 < events["silver.trades"]["rows"] <= events["bronze.trades"]["rows"]
    judged = [table.full_name for table in TABLES if table.layer is not Layer.BRONZE] + ["bronze.trades"]
    assert {events[name]["verdict"] for name in judged} <= {"pass", "warn"}
    assert all(events[name]["content_hash"] for name in judged)


def test_the_page_of_an_asset_draws_it_back_to_the_topics(airflow: Airflow):
    asset = airflow.asset("gold.ohlcv_1h")

    graph = airflow.call(
        "GET", "/dependencies", root="/ui", params={"node_id": f"asset:{asset['id']}", "dependency_type": "data"}
    )

    labels = {node["id"]: node["label"] for node in graph["nodes"]}
    arrows = {(labels[edge["source_id"]], labels[edge["target_id"]]) for edge in graph["edges"]}
    way = (
        "coinbase.raw.trades",
        "trades_hourly.announce.bronze_trades",
        "bronze.trades",
        "trades_hourly.announce.silver_trades",
        "silver.trades",
        "trades_hourly.announce.gold_ohlcv_1m",
        "gold.ohlcv_1m",
        "trades_hourly.announce.gold_ohlcv_1h",
        "gold.ohlcv_1h",
    )
    assert set(pairwise(way)) <= arrows
    assert {"ingestion.progress", "bybit.raw.trades", "silver.trade_gaps", "silver.product_hours"} <= set(
        labels.values()
    )
    assert asset["extra"]["owner"] == "market-data"
    assert asset["extra"]["freshness"] == "2 hours"
