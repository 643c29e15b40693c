"""A venue that is followed from some day on passes the same gates, and its candles stand beside the first one's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan

from tests.drivers.airflow import Airflow
from tests.drivers.exchange import Exchange
from tests.drivers.kafka import Kafka
from tests.drivers.lake import Lake, frame_like
from tests.drivers.running_stack import RunningStack
from tests.drivers.waiting import eventually
from tests.truth import bybit
from tests.truth.tape import HOUR, Tape, hour_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

SYMBOL = "BTCUSDT"
MARKETS = ("linear", "spot")
FOLLOWED = {"LAKE_FOLLOW_BYBIT": "true", "LAKE_BYBIT_LINEAR": SYMBOL, "LAKE_BYBIT_SPOT": SYMBOL}
SPEED = 60
BEFORE_THE_HOUR = timedelta(minutes=20)
"""On the exchange's clock: the time that producers have to connect to it once it hurries."""


@dataclass(frozen=True)
class Followed:
    """The first hour in which the venue was followed from beginning to end.

    Args:
        run: The run that built it.
    """

    hour: datetime
    run: dict[str, Any]

    @property
    def end(self) -> datetime:
        """The end of the hour."""
        return self.hour + HOUR


@pytest.fixture(scope="module")
def followed(stack: RunningStack, kafka: Kafka, airflow: Airflow) -> Followed:
    """Follow the venue, let an hour of it pass in a minute, and build that."""
    up = stack.command("up", timeout=600, **FOLLOWED)
    assert up.returncode == 0, up.stdout
    exchange = Exchange(stack)
    with exchange.hurrying(SPEED):
        hour = hour_of(exchange.now() + BEFORE_THE_HOUR) + HOUR

        def is_closed() -> bool:
            return all(closed_through(kafka, market) >= hour + HOUR for market in MARKETS)

        eventually(is_closed, within=400, what=f"{hour} to be over", every=2)
    return Followed(hour, airflow.ended(airflow.trigger(hour), within=900))


def test_the_hour_passes_its_gates_with_a_venue_whose_ids_are_not_counted(followed: Followed, airflow: Airflow):
    evidence = airflow.result_of(followed.run["dag_run_id"], "wait_for_hour")

    assert followed.run["state"] == "success"
    assert (evidence["silent"], evidence["uncovered"]) == ([], [])
    assert {f"bybit/{market}/{SYMBOL}" for market in MARKETS} <= set(evidence["closed_through"])


@pytest.mark.parametrize("market", MARKETS)
def test_silver_has_each_of_its_trades_once(followed: Followed, lake: Lake, tape: Tape, market: str):
    low, high = followed.hour.isoformat(), followed.end.isoformat()
    of_hour = And(GreaterThanOrEqual("trade_time", low), LessThan("trade_time", high))
    rows = lake.rows("silver.trades", And(of_hour, And(EqualTo("venue", "bybit"), EqualTo("market", market))))
    of_symbol = bybit.trades(tape, SYMBOL, followed.hour, followed.end)

    truth = frame_like(bybit.silver_trades(market, of_symbol), rows)
    assert_frame_equal(rows.select(truth.columns), truth, check_row_order=False)
    assert rows["trade_ref"].n_unique() == len(of_symbol) > 0
    if market == "spot":
        assert set(rows["trade_ref"]) == {str(bybit.SPOT_IDS + trade.trade_id) for trade in of_symbol}


@pytest.mark.parametrize("market", MARKETS)
def test_its_candles_are_those_of_its_trades(followed: Followed, lake: Lake, tape: Tape, market: str):
    of_symbol = bybit.trades(tape, SYMBOL, followed.hour, followed.end)
    of_hour = And(
        GreaterThanOrEqual("window_start", followed.hour.isoformat()),
        LessThan("window_start", followed.end.isoformat()),
    )
    candles = lake.rows("gold.ohlcv_1m", And(of_hour, EqualTo("venue", "bybit"))).filter(market=market)

    truth = frame_like(bybit.candles(market, of_symbol, SYMBOL, followed.hour, followed.end), candles)
    assert_frame_equal(candles.sort("window_start").select(truth.columns), truth)


def test_the_first_venue_stands_beside_it(followed: Followed, lake: Lake):
    latest = lake.rows("gold.price_latest", columns=["venue", "market", "product_id"])
    gaps = lake.rows("silver.trade_gaps", EqualTo("hour_start", followed.hour.isoformat()), columns=["venue"])

    assert {("bybit", market, SYMBOL) for market in MARKETS} < set(latest.iter_rows())
    assert "coinbase" in set(latest["venue"])
    assert gaps.filter(pl.col("venue") == "bybit").is_empty()


def closed_through(kafka: Kafka, market: str) -> datetime:
    """Return how far the producer says that the symbol is closed."""
    told = kafka.newest("ingestion.progress", f"bybit/{market}/{SYMBOL}")
    return datetime.fromisoformat(json.loads(told[-1])["closed_through"]) if told else datetime.min.replace(tzinfo=UTC)
