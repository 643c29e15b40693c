from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from include.contracts import TABLES, gold, silver
from include.contracts.table import Action, Rule, Table
from include.quality import GATES
from include.quality.judgement import Check, Outcome, Verdict, Waiver, fingerprint, judge, waive
from tests.unit.include.quality.rows import NINE, broken, frame

pytestmark = pytest.mark.unit

TRADE = {"trade_ref": "1", "side": "buy", "trade_time": NINE}


@pytest.mark.parametrize("table", [table for tables, _ in GATES.values() for table in tables], ids=str)
def test_the_rules_of_every_gated_table_can_be_evaluated(table: Table):
    verdicts = judge([table], [], {f"{table.layer}_{table.name}": frame(table)})

    assert {verdict.rule_id for verdict in verdicts} >= {rule.id for rule in table.rules}
    assert broken(verdicts) == set()


def test_every_rule_of_every_layer_has_an_id_of_its_own():
    for tables, checks in GATES.values():
        ids = [(table.full_name, rule.id) for table in tables for rule in table.rules]
        ids += [(check.table.full_name, rule.id) for check in checks for rule in check.rules]
        assert len(ids) == len(set(ids))
    assert TABLES


def test_good_trades_pass():
    trades = frame(silver.TRADES, TRADE, TRADE | {"trade_ref": "2"})

    assert broken(judge([silver.TRADES], [], {"silver_trades": trades})) == set()


def test_a_trade_that_is_there_twice_breaks_the_grain():
    trades = frame(silver.TRADES, TRADE, TRADE, TRADE | {"trade_ref": "2"})

    (verdict,) = (v for v in judge([silver.TRADES], [], {"silver_trades": trades}) if v.outcome is Outcome.BLOCK)

    assert (verdict.rule_id, verdict.checked_count, verdict.failed_count) == ("grain_unique", 3, 2)
    assert [sample["trade_ref"] for sample in verdict.samples] == ["1", "1"]


def test_a_required_column_must_not_be_null():
    trades = frame(silver.TRADES, TRADE | {"ingested_at": None})

    assert broken(judge([silver.TRADES], [], {"silver_trades": trades})) == {("silver.trades", "present:ingested_at")}


def test_a_rule_that_cannot_be_said_of_a_row_is_broken():
    trades = frame(silver.TRADES, TRADE | {"price": None})

    found = broken(judge([silver.TRADES], [], {"silver_trades": trades}))

    assert ("silver.trades", "price_positive") in found


def test_money_is_compared_to_its_last_digit():
    candle = {"trade_count": 1, "status": "complete", "open": Decimal("0.3"), "high": Decimal("0.30000001")}
    candle |= {"low": Decimal("0.3"), "close": Decimal("0.3"), "vwap": Decimal("0.30000002")}

    assert broken(judge([gold.OHLCV_1M], [], {"gold_ohlcv_1m": frame(gold.OHLCV_1M, candle)})) == {
        ("gold.ohlcv_1m", "vwap_inside")
    }


def test_a_broken_rule_that_only_warns_does_not_block():
    check = Check(silver.TRADES, "select 1 as n", (Rule("n_is_two", "n = 2", "n is two", Action.WARN),))

    (verdict,) = judge([], [check], {})

    assert verdict.outcome is Outcome.WARN
    assert verdict.samples == ({"n": "1"},)


def test_ids_beyond_the_precision_of_floats_stay_apart():
    trades = frame(
        silver.TRADES,
        TRADE | {"sequence": 9_007_199_254_740_993, "trade_ref": "1"},
        TRADE | {"sequence": None, "trade_ref": "2", "side": None},
    )

    verdicts = {v.rule_id: v for v in judge([silver.TRADES], [], {"silver_trades": trades})}

    assert verdicts["side_known"].samples[0]["trade_ref"] == "2"


def test_equal_rows_have_an_equal_fingerprint_in_any_order():
    one, two = pa.table({"a": [1, 2], "b": ["x", None]}), pa.table({"a": [2, 1], "b": [None, "x"]})

    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one) != fingerprint(one.slice(0, 1))
    assert fingerprint(one.slice(0, 0)) != fingerprint(one)


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (Action.IGNORE, Outcome.IGNORE),
        (Action.WARN, Outcome.WARN),
        (Action.QUARANTINE, Outcome.BLOCK),
        (Action.BLOCK, Outcome.BLOCK),
    ],
)
def test_what_becomes_of_a_broken_rule_is_its_action(action: Action, outcome: Outcome):
    check = Check(silver.TRADES, "from range(3) as n (n)", (Rule("n_is_two", "n = 2", "n is two", action),))

    (verdict,) = judge([], [check], {})

    assert (verdict.outcome, verdict.checked_count, verdict.failed_count) == (outcome, 3, 2)


def test_a_rule_that_cannot_be_evaluated_is_no_verdict_at_all():
    check = Check(silver.TRADES, "select 1 as n", (Rule("m_is_two", "m = 2", "m is two", Action.IGNORE),))

    with pytest.raises(duckdb.BinderException, match="m"):
        judge([], [check], {})


LEAVE = Waiver("silver.trades", "price_positive", failed_count=2, granted_by="ada", why="a test of the exchange")


def verdict(table: str = "silver.trades", rule_id: str = "price_positive", **facts: Any) -> Verdict:
    return Verdict(
        table,
        rule_id,
        "price is above zero",
        **{"outcome": Outcome.BLOCK, "checked_count": 9, "failed_count": 2} | facts,
    )


def test_a_waiver_lets_through_its_own_rule():
    (waived,) = waive([verdict()], [LEAVE])

    assert (waived.outcome, waived.waiver) == (Outcome.WAIVED, LEAVE)
    assert str(waived).endswith("price is above zero; waived by ada: a test of the exchange: 2 of 9 rows break it")


@pytest.mark.parametrize(
    "other",
    [
        verdict(rule_id="size_positive"),
        verdict(table="silver.trades_quarantine"),
        verdict(failed_count=3),
        verdict(outcome=Outcome.WARN),
        verdict(outcome=Outcome.PASS, failed_count=0),
    ],
    ids=["another rule", "another table", "more rows", "a warning", "no fault"],
)
def test_a_waiver_changes_nothing_that_it_does_not_name(other: Verdict):
    assert waive([other], [LEAVE]) == [other]
