"""A trade that comes after its hour was published: the hour is built again, or somebody is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from tests.drivers.airflow import KEY, Airflow
from tests.drivers.demo import Demo
from tests.drivers.kafka import Kafka, received
from tests.drivers.lake import Lake
from tests.drivers.waiting import eventually
from tests.truth.recorder import wire_time
from tests.truth.tape import HOUR

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DAG = "late_trades"
PRODUCT = "DOGE-USD"
"""Followed, and never traded: what it has came late."""
PRICE, SIZE = Decimal("0.15"), Decimal(100)
INTO = timedelta(minutes=7, seconds=30)
"""How long after the beginning of its hour a trade was made."""


@pytest.fixture
def schedule(airflow: Airflow) -> Iterator[None]:
    """Looks for late trades, which otherwise stand still while others make hours that are to be as they made them."""
    airflow.call("PATCH", f"/dags/{DAG}", json={"is_paused": False})
    yield
    airflow.call("PATCH", f"/dags/{DAG}", json={"is_paused": True})


@pytest.mark.usefixtures("schedule")
def test_an_hour_that_lacks_a_trade_is_built_again_once_and_of_an_older_one_an_alert_tells(
    demo: Demo, airflow: Airflow, kafka: Kafka, lake: Lake
):
    young, old = lake.rows("silver.product_hours", columns=["hour_start"])["hour_start"].max(), demo.start
    assert isinstance(young, datetime)
    assert datetime.now(UTC) - (young + HOUR) < demo.stack.settings.late_grace < datetime.now(UTC) - (old + HOUR)
    told_before = len(demo.alerts())

    arrive(kafka, {1: old, 2: young})
    eventually(lambda: len(rows(lake, "bronze.trades")) == 2, within=120, what="the late trades in Bronze")
    for _ in range(2):
        assert airflow.do(DAG, {}, within=300)["state"] == "success"

    (rebuild,) = [run for run in airflow.runs() if run["dag_run_id"].startswith(f"late__{young.strftime(KEY)}__")]
    assert f"1 of coinbase/spot/{PRODUCT}" in rebuild["note"]
    assert airflow.ended(rebuild["dag_run_id"], within=600)["state"] == "success"

    stale = rows(lake, "ops.late_trades").select("partition_key", "late_count", "decision").rows()
    assert sorted(stale) == [(old.strftime(KEY), 1, "too old"), (young.strftime(KEY), 1, "rebuild")]
    told = {key: stale for look in airflow.events("ops.late_trades") for key, stale in look.get("hours", {}).items()}
    assert (told[old.strftime(KEY)]["is_too_old"], told[young.strftime(KEY)]["is_too_old"]) == (True, False)
    (alert,) = [alert for alert in demo.alerts()[told_before:] if alert["dag_id"] == DAG]
    assert f"{old.strftime(KEY)}: 1 of coinbase/spot/{PRODUCT}" in alert["summary"]

    assert rows(lake, "silver.trades")["trade_ref"].to_list() == ["2"]
    minute = young + timedelta(minutes=INTO // timedelta(minutes=1))
    candle = rows(lake, "gold.ohlcv_1m", young).filter(pl.col("trade_count") > 0)
    assert candle.select("window_start", "open", "close", "volume").rows() == [(minute, PRICE, PRICE, SIZE)]

    def compared() -> list[tuple[object, ...]]:
        found = rows(lake, "gold.candle_reconciliation", young).filter(pl.col("agreement") != "equal")
        return found.select("window_start", "open", "exchange_open", "agreement").rows()

    theirs = [(minute, PRICE, None, "theirs missing")]
    eventually(
        lambda: compared() == theirs, within=240, what="the hour to be held against the exchange's candles again"
    )


def arrive(kafka: Kafka, hours: dict[int, datetime]) -> None:
    """Send trades as the producer does, one of each id in its hour."""
    frames = [
        {
            "type": "match",
            "trade_id": trade_id,
            "product_id": PRODUCT,
            "price": str(PRICE),
            "size": str(SIZE),
            "side": "sell",
            "sequence": trade_id,
            "time": wire_time(hour + INTO),
        }
        for trade_id, hour in hours.items()
    ]
    values = [json.dumps(frame).encode() for frame in frames]
    kafka.produce("coinbase.raw.trades", PRODUCT, values, received(datetime.now(UTC)).items())


def rows(lake: Lake, table: str, hour: datetime | None = None) -> pl.DataFrame:
    """Read the product's rows, all or those of an hour's minutes."""
    mine = EqualTo("product_id", PRODUCT)
    if hour is None:
        return lake.rows(table, mine)
    of_hour = And(
        GreaterThanOrEqual("window_start", hour.isoformat()), LessThan("window_start", (hour + HOUR).isoformat())
    )
    return lake.rows(table, And(mine, of_hour))
