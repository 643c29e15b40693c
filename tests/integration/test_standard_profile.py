"""The profile `standard` on a lake that was begun with `minimal`: the same candles in Trino, all services watched."""

from __future__ import annotations

from datetime import UTC
from urllib.parse import quote

import httpx
import polars as pl
import pytest
import trino
from polars.testing import assert_frame_equal

from include.settings import CHECKOUT
from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.lake import Lake
from tests.drivers.page import Rows, run_sql
from tests.drivers.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

LOOK, AUDIT = "data_quality", "audit_with_trino"
COLUMNS = ("product_id", "window_start", "open", "high", "low", "close", "volume", "trade_count", "vwap", "status")


@pytest.fixture(scope="module")
def standard(demo: Demo) -> Demo:
    """Go over to the profile."""
    up = demo.stack.command("up", "--profile", "standard", timeout=840)

    assert up.returncode == 0, up.stdout
    return demo


def test_trino_reads_the_candles_that_were_published(standard: Demo, lake: Lake):
    demo = standard
    endpoint = demo.stack.settings.trino
    with trino.dbapi.connect(host=endpoint.host, port=endpoint.port, user="test") as connection:
        cursor = connection.cursor()
        cursor.execute(
            f"SELECT {', '.join(COLUMNS)} FROM lake.gold.ohlcv_1m WHERE window_start >= ? AND window_start < ?",
            (demo.start, demo.end),
        )
        rows = cursor.fetchall()

    candles = lake.rows("gold.ohlcv_1m", columns=COLUMNS).filter(pl.col("window_start").is_between(
        demo.start, demo.end, closed="left"
    )).select(COLUMNS)  # fmt: skip
    found = pl.DataFrame(
        [(product, start.astimezone(UTC), *rest) for product, start, *rest in rows], candles.schema, orient="row"
    )
    assert_frame_equal(found.sort(COLUMNS[:2]), candles.sort(COLUMNS[:2]))
    assert found.height == 60 * len(demo.hours) * found["product_id"].n_unique() > 0


def test_trino_looks_at_a_published_hour(standard: Demo, airflow: Airflow):
    def tasks() -> set[str]:
        return {task["task_id"] for task in airflow.call("GET", f"/dags/{LOOK}/tasks")["tasks"]}

    eventually(lambda: AUDIT in tasks(), within=240, what="the DAG of this profile", every=3)
    request = {"partition_key": standard.hours[-1].strftime(KEY), "logical_date": None}
    run_id = airflow.call("POST", f"/dags/{LOOK}/dagRuns", json=request)["dag_run_id"]

    assert airflow.end_of(LOOK, run_id, within=240)["state"] == "success"
    audit = airflow.call("GET", f"/dags/{LOOK}/dagRuns/{quote(run_id, safe='')}/taskInstances/{AUDIT}")
    assert audit["state"] == "success"


def test_the_snippets_for_trino_hold(standard: Demo):
    endpoint = standard.stack.settings.trino
    with trino.dbapi.connect(host=endpoint.host, port=endpoint.port, user="test", timezone="UTC") as connection:

        def run(statement: str) -> Rows:
            cursor = connection.cursor()
            cursor.execute(statement)
            rows = cursor.fetchall()
            return Rows([column.name for column in cursor.description], rows)

        assert run_sql(CHECKOUT / "docs" / "iceberg.md", "sql trino", run) == 3


def test_prometheus_reads_every_service(standard: Demo):
    url = f"{standard.stack.settings.prometheus.url}/api/v1/query"

    def targets() -> dict[str, str]:
        answer = httpx.get(url, params={"query": "up"}, timeout=10).raise_for_status().json()
        return {each["metric"]["service"]: each["value"][1] for each in answer["data"]["result"]}

    eventually(lambda: set(targets().values()) == {"1"}, within=120, what="every service to be read", every=5)
    assert {"producer-coinbase", "bronze-writer", "metrics", "kafka", "s3", "thrift", "nessie", "trino"} <= set(
        targets()
    )


def test_doctor_and_status_know_what_came(standard: Demo):
    status, doctor = standard.stack.command("status", timeout=120), standard.stack.command("doctor", timeout=120)

    assert [name for name in ("trino", "prometheus", "metrics") if name not in status.stdout] == []
    assert doctor.returncode == 0, doctor.stdout
