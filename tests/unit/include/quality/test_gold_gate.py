from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.contracts import gold, silver
from include.quality.gold import CHECKS, HOURS_OF_DAY, TABLES
from include.quality.judgement import judge
from tests.unit.include.quality.rows import NINE, broken, frame

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)
PRICES = ("open", "high", "low", "close")


def prices(open: str, high: str, low: str, close: str, vwap: str) -> dict[str, Any]:
    return {"open": open, "high": high, "low": low, "close": close, "vwap": vwap}


def money(row: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(value) if name in (*PRICES, "vwap") and value else value for name, value in row.items()}


TRADES = [
    {"trade_ref": "1", "sequence": 1, "price": Decimal(10), "size": Decimal(2), "trade_time": NINE},
    {"trade_ref": "2", "sequence": 2, "price": Decimal(12), "size": Decimal(1), "trade_time": NINE},
    {"trade_ref": "3", "sequence": 3, "price": Decimal(11), "size": Decimal(1), "trade_time": NINE + MINUTE},
]
FIRST = prices("10", "12", "10", "12", "10.66666667") | {"volume": Decimal(3), "trade_count": 2, "status": "complete"}
SECOND = prices("11", "11", "11", "11", "11") | {"volume": Decimal(1), "trade_count": 1, "status": "complete"}
EMPTY = dict.fromkeys((*PRICES, "vwap")) | {"volume": Decimal(0), "trade_count": 0, "status": "empty"}
HOUR = prices("10", "12", "10", "11", "10.75") | {"volume": Decimal(4), "trade_count": 3, "status": "complete"}
DAY = {"total_volume": Decimal(4), "total_trades": 3, "max_drawdown": None, "volatility": None}


def minutes(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the hour's sixty candles; `m5={...}` changes the sixth."""
    candles = [FIRST, SECOND, *[EMPTY] * 58]
    return [
        money(candle | {"window_start": NINE + number * MINUTE} | changed.get(f"m{number}", {}))
        for number, candle in enumerate(candles)
    ]


def broken_by(
    candles: list[dict[str, Any]],
    *,
    hour: dict[str, Any] | None = None,
    day: dict[str, Any] | None = None,
    gaps: tuple[dict[str, Any], ...] = (),
    product_hours: tuple[dict[str, Any], ...] = ({"hour_start": NINE, "is_closed": True},),
    updated_at: timedelta = MINUTE,
) -> set[tuple[str, str]]:
    one_hour = money(HOUR | {"window_start": NINE} | (hour or {}))
    one_day = money({name: HOUR[name] for name in PRICES} | DAY | {"date": NINE.date()} | (day or {}))
    frames = {
        "gold_ohlcv_1m": frame(gold.OHLCV_1M, *candles),
        "gold_ohlcv_1h": frame(gold.OHLCV_1H, one_hour),
        HOURS_OF_DAY: frame(gold.OHLCV_1H, one_hour),
        "gold_daily_metrics": frame(gold.DAILY_METRICS, one_day),
        "gold_price_latest": frame(gold.PRICE_LATEST, {"updated_at": NINE + updated_at, "price": Decimal(11)}),
        "silver_trades": frame(silver.TRADES, *TRADES),
        "silver_trade_gaps": frame(silver.TRADE_GAPS, *gaps),
        "silver_product_hours": frame(silver.PRODUCT_HOURS, *product_hours),
    }
    return broken(judge(TABLES, CHECKS, frames))


def test_candles_that_are_their_trades_pass():
    assert broken_by(minutes()) == set()


def test_a_wrong_volume_blocks():
    assert ("gold.ohlcv_1m", "counts_silver") in broken_by(minutes(m0={"volume": Decimal(4)}))


def test_a_close_that_is_not_the_last_trade_of_its_moment_blocks():
    assert ("gold.ohlcv_1m", "prices_silver") in broken_by(minutes(m0={"close": "10"}))


def test_a_minute_without_a_candle_blocks():
    assert ("gold.ohlcv_1m", "every_minute") in broken_by(minutes()[:-1])


def test_a_candle_of_a_product_that_is_not_followed_blocks():
    stray = minutes()[2] | {"product_id": "DOGE-USD"}

    assert ("gold.ohlcv_1m", "every_minute") in broken_by([*minutes(), stray])


def test_a_followed_product_without_candles_blocks():
    hours = ({"hour_start": NINE, "is_closed": True}, {"hour_start": NINE, "product_id": "DOGE-USD", "is_closed": True})

    assert ("gold.ohlcv_1m", "every_minute") in broken_by(minutes(), product_hours=hours)


def test_a_minute_that_a_hole_touches_must_say_gap():
    gap = {"gap_from": NINE + 5 * MINUTE, "gap_until": NINE + 6.5 * MINUTE, "state": "open"}
    holes = {"m5": {"status": "gap"}, "m6": {"status": "gap"}}

    assert ("gold.ohlcv_1m", "status_ledger") in broken_by(minutes(), gaps=(gap,))
    assert broken_by(minutes(**holes), gaps=(gap,)) == set()
    assert broken_by(minutes(), gaps=(gap | {"state": "repaired"},)) == set()


def test_an_hour_that_nobody_vouches_for_is_a_gap_throughout():
    open_hour = ({"hour_start": NINE, "is_closed": False},)
    gaps = {f"m{number}": {"status": "gap"} for number in range(60)}

    assert ("gold.ohlcv_1m", "status_ledger") in broken_by(minutes(), product_hours=open_hour)
    assert broken_by(minutes(**gaps), product_hours=open_hour, hour={"status": "gap"}) == set()


def test_an_hour_that_is_not_its_minutes_blocks():
    assert ("gold.ohlcv_1h", "rolls_up_minutes") in broken_by(minutes(), hour={"high": "13"})


def test_a_day_that_is_not_its_hours_blocks():
    assert ("gold.daily_metrics", "adds_up_hours") in broken_by(minutes(), day={"total_trades": 4})


def test_a_newest_price_that_is_behind_the_hour_blocks():
    assert broken_by(minutes(), updated_at=timedelta()) == {("gold.price_latest", "not_behind")}


def test_gold_of_an_hour_that_silver_does_not_have_blocks():
    found = broken_by([], product_hours=())

    assert ("gold.ohlcv_1m", "hour_was_built") in found
