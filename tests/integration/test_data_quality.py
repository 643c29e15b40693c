"""Each published hour is held against the exchange's own candles."""

from __future__ import annotations

from typing import Any

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from tests.drivers.airflow import ENDED, KEY, Airflow
from tests.drivers.demo import PRODUCTS, Demo
from tests.drivers.lake import Lake, frame_like
from tests.drivers.waiting import eventually
from tests.truth import tables
from tests.truth.tape import Tape

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

DAG = "data_quality"
PRICES = ("open", "high", "low", "close")


def looks(airflow: Airflow, demo: Demo) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of the demo's hours, by partition key."""
    keys = {hour.strftime(KEY) for hour in demo.hours}
    runs = [run for run in airflow.runs_of(DAG) if run["partition_key"] in keys]
    return {key: [run for run in runs if run["partition_key"] == key] for key in keys}


def test_each_published_hour_is_looked_at_once(demo: Demo, airflow: Airflow):
    def ended() -> bool:
        runs = looks(airflow, demo).values()
        return all(of and all(run["state"] in ENDED for run in of) for of in runs)

    eventually(ended, within=300, what="a look at each hour", every=3)
    assert [[run["state"] for run in of] for of in looks(airflow, demo).values()] == [["success"]] * len(demo.hours)


def test_every_candle_stands_beside_that_of_the_exchange(demo: Demo, lake: Lake, tape: Tape):
    compared = lake.rows(
        "gold.candle_reconciliation",
        And(
            GreaterThanOrEqual("window_start", demo.start.isoformat()),
            LessThan("window_start", demo.end.isoformat()),
        ),
    ).sort("product_id", "window_start")

    example = lake.rows("gold.ohlcv_1m", EqualTo("product_id", "no such product"))
    truth = frame_like(tables.candles(tape, PRODUCTS, demo.start, demo.end, tables.MINUTE), example)
    key = ["product_id", "window_start"]
    assert_frame_equal(
        compared.select(*key, *PRICES, "volume", "status"), truth.select(*key, *PRICES, "volume", "status")
    )

    traded = compared.filter(pl.col("open").is_not_null())
    theirs = traded.select(*key, *(pl.col(f"exchange_{name}").alias(name) for name in (*PRICES, "volume")))
    assert_frame_equal(theirs, traded.select(*key, *PRICES, "volume"))
    assert set(compared["agreement"]) == {"equal"}


def test_the_verdicts_of_the_comparison_are_kept_and_no_attempts_at_the_hour(demo: Demo, lake: Lake):
    verdicts = lake.rows("ops.gate_results", EqualTo("table_name", "gold.candle_reconciliation"))

    assert set(verdicts["partition_key"]) >= {hour.strftime(KEY) for hour in demo.hours}
    assert set(verdicts["branch"]) == {"main"}
    assert {"equals_exchange", "mostly_equals_exchange"} <= set(verdicts["rule_id"])


def test_what_the_gates_found_is_to_be_read_in_airflow_by_those_who_may(demo: Demo, airflow: Airflow):
    root = f"{demo.stack.settings.airflow.url}/data_docs"
    pages = [f"{root}/", *(f"{root}/{demo.start:{KEY}}/{layer}/index.html" for layer in ("bronze", "silver", "gold"))]

    assert [httpx.get(page, timeout=60).status_code for page in pages] == [401] * len(pages)
    read = [airflow.page(page) for page in pages]
    assert [answer.status_code for answer in read] == [200] * len(pages)
    assert all(f"{hour:{KEY}}/gold/index.html" in read[0].text for hour in demo.hours)
    assert "gold.ohlcv_1m" in read[-1].text
    assert airflow.page(f"{root}/{demo.start:{KEY}}/gold/static/styles/data_docs_default_styles.css").status_code == 200
    assert airflow.page(f"{root}/%2e%2e/secrets.env").status_code == 404
