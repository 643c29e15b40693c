from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from include.contracts import bronze, gold, silver
from include.quality.judgement import Outcome, judge
from include.quality.silver import CHECKS, HOURS_BEFORE, TABLES
from tests.unit.include.quality.rows import NINE, broken, frame

pytestmark = pytest.mark.unit

HOUR = timedelta(hours=1)


def received(trade_id: str, offset: int) -> dict[str, Any]:
    return {"trade_id": trade_id, "_kafka_topic": "t", "_kafka_partition": 0, "_kafka_offset": offset}


def trade(trade_ref: str) -> dict[str, Any]:
    return {"trade_ref": trade_ref, "side": "buy", "trade_time": NINE}


def hour(trade_count: int, missing_count: int = 0) -> dict[str, Any]:
    return {"hour_start": NINE, "trade_count": trade_count, "missing_count": missing_count, "is_closed": True}


def quarantined(offset: int) -> dict[str, Any]:
    return {"_kafka_topic": "t", "_kafka_partition": 0, "_kafka_offset": offset, "rule_id": "price_positive"}


def gap(missing_count: int, state: str = "open") -> dict[str, Any]:
    return {"first_missing_id": 5, "last_missing_id": 5, "missing_count": missing_count, "state": state}


def broken_by(
    bronze_rows: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    hours: list[dict[str, Any]],
    quarantine: tuple[dict[str, Any], ...] = (),
    gaps: tuple[dict[str, Any], ...] = (),
    before: tuple[dict[str, Any], ...] = (),
) -> set[tuple[str, str]]:
    return broken(judge(TABLES, CHECKS, frames(bronze_rows, trades, hours, quarantine, gaps, before)))


def frames(
    bronze_rows: list[dict[str, Any]],
    trades: list[dict[str, Any]],
    hours: list[dict[str, Any]],
    quarantine: tuple[dict[str, Any], ...] = (),
    gaps: tuple[dict[str, Any], ...] = (),
    before: tuple[dict[str, Any], ...] = (),
) -> dict[str, pa.Table]:
    return {
        "bronze_trades": frame(bronze.TRADES, *bronze_rows),
        "silver_trades": frame(silver.TRADES, *trades),
        "silver_trades_quarantine": frame(silver.TRADES_QUARANTINE, *quarantine),
        "silver_trade_gaps": frame(silver.TRADE_GAPS, *gaps),
        "silver_product_hours": frame(silver.PRODUCT_HOURS, *hours),
        HOURS_BEFORE: frame(gold.OHLCV_1H, *before),
    }


def test_trades_and_their_copies_account_for_all_of_bronze():
    assert (
        broken_by([received("1", 0), received("1", 1), received("2", 2)], [trade("1"), trade("2")], [hour(2)]) == set()
    )


def test_a_trade_that_silver_lost_blocks():
    found = broken_by([received("1", 0), received("2", 1)], [trade("1")], [hour(1)])

    assert found == {("silver.trades", "reconciles_with_bronze")}


def test_a_trade_that_bronze_does_not_have_blocks():
    found = broken_by([received("1", 0), received("2", 1)], [trade("1"), trade("3")], [hour(2)])

    assert found == {("silver.trades", "reconciles_with_bronze")}


def test_all_of_silver_missing_blocks():
    found = broken_by([received("1", 0)], [], [hour(1)])

    assert found == {("silver.trades", "reconciles_with_bronze"), ("silver.product_hours", "counts_silver")}


def test_one_row_in_quarantine_among_many_warns():
    good = [str(number) for number in range(30)]
    rows = [received(ref, int(ref)) for ref in good] + [received("99", 99)]

    found = broken_by(rows, [trade(ref) for ref in good], [hour(30)], quarantine=(quarantined(99),))

    assert found == {("silver.trades_quarantine", "quarantine_empty")}


def test_much_in_quarantine_blocks():
    found = broken_by([received("1", 0), received("2", 1)], [trade("1")], [hour(1)], quarantine=(quarantined(1),))

    assert ("silver.trades_quarantine", "quarantine_small") in found


def with_quarantine(rule_id: str, count: int, of: int) -> set[tuple[str, str]]:
    """Judge an hour of so many rows, some of which one rule put into quarantine."""
    good = [str(number) for number in range(of - count)]
    bad = tuple(quarantined(1000 + number) | {"rule_id": rule_id} for number in range(count))
    rows = [received(ref, int(ref)) for ref in good] + [received("9", row["_kafka_offset"]) for row in bad]
    return broken_by(rows, [trade(ref) for ref in good], [hour(of - count)], quarantine=bad)


def test_each_rule_may_put_its_own_share_into_quarantine():
    quarantine = "silver.trades_quarantine"
    warned, blocked = {(quarantine, "quarantine_empty")}, {(quarantine, "quarantine_within_share")}

    assert with_quarantine("price_positive", 5, of=100) == warned
    assert with_quarantine("side_known", 1, of=100) == warned
    assert with_quarantine("side_known", 2, of=100) == warned | blocked
    assert with_quarantine("no_such_rule", 1, of=100) == warned | blocked


NEAR = ("silver.trades", "price_near_last")


def test_a_price_far_from_the_last_one_before_the_hour_warns():
    before = (
        {"window_start": NINE - 2 * HOUR, "close": Decimal(50)},
        {"window_start": NINE - HOUR, "close": Decimal(100)},
    )
    silent = {"window_start": NINE - HOUR / 2, "close": None}

    def found(price: str) -> set[tuple[str, str]]:
        row = trade("1") | {"price": Decimal(price)}
        return broken_by([received("1", 0)], [row], [hour(1)], before=(*before, silent))

    assert found("120") == found("80") == set()
    assert found("120.00000001") == found("79.99999999") == {NEAR}


def test_a_price_before_which_none_is_known_may_be_anything():
    other = {"product_id": "ETH-USD", "window_start": NINE - HOUR, "close": Decimal(100)}

    assert broken_by([received("1", 0)], [trade("1") | {"price": Decimal(7)}], [hour(1)], before=(other,)) == set()


def test_late_trades_are_counted_and_warn_nobody():
    late = trade("1") | {"_is_late_arrival": True}
    verdicts = judge(TABLES, CHECKS, frames([received("1", 0), received("2", 1)], [late, trade("2")], [hour(2)]))

    (found,) = (verdict for verdict in verdicts if verdict.outcome is not Outcome.PASS)
    assert (found.rule_id, found.outcome, found.failed_count) == ("came_in_time", Outcome.IGNORE, 1)


def test_a_hole_that_the_hour_does_not_count_blocks():
    found = broken_by([received("1", 0)], [trade("1")], [hour(1, missing_count=0)], gaps=(gap(1),))

    assert found == {("silver.product_hours", "counts_ledger")}


def test_a_repaired_hole_counts_no_more():
    assert broken_by([received("1", 0)], [trade("1")], [hour(1)], gaps=(gap(1, state="repaired"),)) == set()


def test_a_silent_product_is_an_hour_without_trades():
    doge = hour(0) | {"product_id": "DOGE-USD"}

    assert broken_by([received("1", 0)], [trade("1")], [hour(1), doge]) == set()


def test_an_hour_that_was_not_built_blocks():
    assert broken_by([], [], []) == {("silver.product_hours", "hour_was_built")}
