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
EIGHT, MIDNIGHT = NINE.replace(hour=8), NINE.replace(hour=0)
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


def fives(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the hour's twelve candles of five minutes; `f1={...}` changes the second."""
    candles = [HOUR, *[EMPTY] * 11]
    return [
        money(candle | {"window_start": NINE + 5 * number * MINUTE} | changed.get(f"f{number}", {}))
        for number, candle in enumerate(candles)
    ]


def broken_by(
    candles: list[dict[str, Any]],
    *,
    five_minutes: list[dict[str, Any]] | None = None,
    hour: dict[str, Any] | None = None,
    other_hours: tuple[dict[str, Any], ...] = (),
    four_hours: dict[str, Any] | None = None,
    other_four_hours: tuple[dict[str, Any], ...] = (),
    whole_day: dict[str, Any] | None = None,
    day: dict[str, Any] | None = None,
    gaps: tuple[dict[str, Any], ...] = (),
    product_hours: tuple[dict[str, Any], ...] = ({"hour_start": NINE, "is_closed": True},),
    updated_at: timedelta = MINUTE,
) -> set[tuple[str, str]]:
    one_hour = money(HOUR | {"window_start": NINE} | (hour or {}))
    one_day = money({name: HOUR[name] for name in PRICES} | DAY | {"date": NINE.date()} | (day or {}))
    # Of their hours this one alone is published, if nothing else is said.
    wide = HOUR | {"status": "open"}
    frames = {
        "gold_ohlcv_1m": frame(gold.OHLCV_1M, *candles),
        "gold_ohlcv_5m": frame(gold.OHLCV_5M, *(fives() if five_minutes is None else five_minutes)),
        "gold_ohlcv_1h": frame(gold.OHLCV_1H, one_hour),
        "gold_ohlcv_4h": frame(
            gold.OHLCV_4H,
            money(wide | {"window_start": EIGHT} | (four_hours or {})),
            *(money(EMPTY | {"window_start": EIGHT} | other) for other in other_four_hours),
        ),
        "gold_ohlcv_1d": frame(gold.OHLCV_1D, money(wide | {"window_start": MIDNIGHT} | (whole_day or {}))),
        HOURS_OF_DAY: frame(gold.OHLCV_1H, one_hour, *(money(EMPTY | other) for other in other_hours)),
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
    later = {"five_minutes": fives(f1={"status": "gap"}), "hour": {"status": "gap"}}
    assert broken_by(minutes(**holes), gaps=(gap,), **later) == set()
    assert broken_by(minutes(), gaps=(gap | {"state": "repaired"},)) == set()


def test_an_hour_that_nobody_vouches_for_is_a_gap_throughout():
    open_hour = ({"hour_start": NINE, "is_closed": False},)
    gaps = {f"m{number}": {"status": "gap"} for number in range(60)}

    assert ("gold.ohlcv_1m", "status_ledger") in broken_by(minutes(), product_hours=open_hour)
    later = {"five_minutes": fives(**{f"f{n}": {"status": "gap"} for n in range(12)}), "hour": {"status": "gap"}}
    assert broken_by(minutes(**gaps), product_hours=open_hour, **later) == set()


def test_an_hour_that_is_not_its_minutes_blocks():
    assert ("gold.ohlcv_1h", "rolls_up_1m") in broken_by(minutes(), hour={"high": "13"})


def test_five_minutes_that_are_not_their_minutes_block():
    assert broken_by(minutes(), five_minutes=fives(f0={"volume": Decimal(5)})) == {
        ("gold.ohlcv_5m", "rolls_up_1m"),
        ("gold.ohlcv_5m", "averages_1m"),
    }
    assert broken_by(minutes(), five_minutes=fives()[:-1]) == {
        ("gold.ohlcv_5m", rule) for rule in ("rolls_up_1m", "status_1m")
    }
    assert ("gold.ohlcv_5m", "rolls_up_1m") in broken_by(minutes(), five_minutes=[])


def test_an_average_may_differ_from_that_of_averages_by_its_last_digit_only():
    assert broken_by(minutes(), five_minutes=fives(f0={"vwap": "10.75000001"})) == set()
    assert broken_by(minutes(), five_minutes=fives(f0={"vwap": "10.75000002"})) == {("gold.ohlcv_5m", "averages_1m")}


DAYS = {("gold.ohlcv_1d", "rolls_up_1h"), ("gold.ohlcv_1d", "status_1h"), ("gold.daily_metrics", "adds_up_hours")}
"""What is said of the days when an hour has a product that they do not have."""
OTHER_HOURS = tuple({"window_start": NINE.replace(hour=hour), "status": "empty"} for hour in (8, 10, 11))


def test_a_window_is_open_until_all_its_hours_are_published():
    assert broken_by(minutes(), four_hours={"status": "complete"}) == {("gold.ohlcv_4h", "status_1h")}
    assert broken_by(minutes(), other_hours=OTHER_HOURS[:2]) == set()
    assert broken_by(minutes(), other_hours=OTHER_HOURS) == {("gold.ohlcv_4h", "status_1h")}
    assert broken_by(minutes(), other_hours=OTHER_HOURS, four_hours={"status": "complete"}) == set()


def test_a_window_in_whose_hours_others_were_followed_and_a_product_was_not_is_a_gap():
    other = {"product_id": "ETH-USD"}
    hours = tuple(hour | other for hour in OTHER_HOURS)
    candles = {"other_hours": hours, "other_four_hours": (other | {"status": "gap"},)}

    found = broken_by(minutes(), four_hours={"status": "complete"}, **candles)
    assert found - DAYS == {("gold.ohlcv_4h", "status_1h")}
    assert broken_by(minutes(), four_hours={"status": "gap"}, **candles) == DAYS


def test_a_wide_candle_that_is_not_its_hours_blocks():
    assert broken_by(minutes(), four_hours={"trade_count": 4}) == {("gold.ohlcv_4h", "rolls_up_1h")}
    assert broken_by(minutes(), whole_day={"close": "12"}) == {("gold.ohlcv_1d", "rolls_up_1h")}
    assert ("gold.ohlcv_4h", "rolls_up_1h") in broken_by(minutes(), four_hours={"window_start": NINE})


def test_a_day_that_is_not_its_hours_blocks():
    assert ("gold.daily_metrics", "adds_up_hours") in broken_by(minutes(), day={"total_trades": 4})


def test_a_newest_price_that_is_behind_the_hour_blocks():
    assert broken_by(minutes(), updated_at=timedelta()) == {("gold.price_latest", "not_behind")}


def test_gold_of_an_hour_that_silver_does_not_have_blocks():
    found = broken_by([], product_hours=())

    assert ("gold.ohlcv_1m", "hour_was_built") in found
