from typing import Any

import pytest

from include.contracts import bronze, silver
from include.quality.judgement import judge
from include.quality.silver import CHECKS, TABLES
from tests.unit.include.quality.rows import NINE, broken, frame

pytestmark = pytest.mark.unit


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
) -> set[tuple[str, str]]:
    frames = {
        "bronze_trades": frame(bronze.TRADES, *bronze_rows),
        "silver_trades": frame(silver.TRADES, *trades),
        "silver_trades_quarantine": frame(silver.TRADES_QUARANTINE, *quarantine),
        "silver_trade_gaps": frame(silver.TRADE_GAPS, *gaps),
        "silver_product_hours": frame(silver.PRODUCT_HOURS, *hours),
    }
    return broken(judge(TABLES, CHECKS, frames))


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
