"""Trino's question about a published hour, put to DuckDB: an hour that agrees with itself gives no row."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from include.contracts import gold, silver
from include.orchestration.trino_audit import none
from include.orchestration.trino_audit import unequal as unequal_of
from tests.unit.include.quality.rows import NINE, frame

pytestmark = pytest.mark.unit

MINUTE = timedelta(minutes=1)
TRADES = [
    {"trade_ref": "1", "price": Decimal(10), "size": Decimal("0.1"), "trade_time": NINE},
    {"trade_ref": "2", "price": Decimal(12), "size": Decimal("0.2"), "trade_time": NINE + MINUTE},
]
EMPTY = {"high": None, "low": None, "volume": Decimal(0), "trade_count": 0}
MINUTES = [
    EMPTY
    | {"window_start": NINE + number * MINUTE}
    | ({"high": trade["price"], "low": trade["price"], "volume": trade["size"], "trade_count": 1} if trade else {})
    for number, trade in enumerate([*TRADES, *[None] * 58])
]
HOUR = {"window_start": NINE, "high": Decimal(12), "low": Decimal(10), "volume": Decimal("0.3"), "trade_count": 2}
QUIET = {"product_id": "DOGE-USD"}


def unequal(trades: list[dict[str, Any]], minutes: list[dict[str, Any]], hours: list[dict[str, Any]]) -> list[Any]:
    frames = {silver.TRADES: frame(silver.TRADES, *trades), gold.OHLCV_1M: frame(gold.OHLCV_1M, *minutes),
              gold.OHLCV_1H: frame(gold.OHLCV_1H, *hours)}  # fmt: skip
    with duckdb.connect() as engine:
        engine.execute("set timezone = 'UTC'")
        engine.execute("attach ':memory:' as lake; use lake")
        engine.execute("create macro from_iso8601_timestamp(t) as cast(t as timestamptz)")
        for table, rows in frames.items():
            engine.register("rows", rows)
            engine.execute(f"create schema if not exists {table.layer}")
            engine.execute(f"create table {table.full_name} as from rows")
        return engine.execute(unequal_of("lake").replace("{{ dag_run.partition_key }}", "2026-11-20T09")).fetchall()


def test_an_hour_that_agrees_with_itself_gives_no_row():
    quiet = [QUIET | EMPTY | {"window_start": row["window_start"]} for row in MINUTES]

    assert unequal(TRADES, [*MINUTES, *quiet], [HOUR, QUIET | EMPTY | {"window_start": NINE}]) == []


@pytest.mark.parametrize(
    ("trades", "minutes", "hours"),
    [
        (TRADES[:1], MINUTES, [HOUR]),
        ([], MINUTES, [HOUR]),
        (TRADES, MINUTES[:-1], [HOUR]),
        (TRADES, [*MINUTES[:-1], MINUTES[0]], [HOUR]),
        (TRADES, [], [HOUR]),
        (TRADES, MINUTES, []),
        (TRADES, MINUTES, [HOUR | {"volume": Decimal("0.30000001")}]),
        (TRADES, MINUTES, [HOUR | {"high": Decimal("12.00000001")}]),
        (TRADES, MINUTES, [HOUR | {"trade_count": 3}]),
        ([TRADES[0] | {"size": Decimal("0.10000001")}, TRADES[1]], MINUTES, [HOUR]),
    ],
)
def test_a_product_whose_tables_do_not_agree_is_named(trades: Any, minutes: Any, hours: Any):
    (found,) = unequal(trades, minutes, hours)

    assert found[:3] == ("coinbase", "spot", "BTC-USD")


class Cursor:
    def __init__(self, *rows: tuple[object, ...]) -> None:
        self.fetchall = lambda: list(rows)


def test_an_audit_that_finds_a_row_fails_with_it():
    assert none(Cursor()) == []
    with pytest.raises(Exception, match=r"1 products do not agree .*\n\('coinbase', '59'\)"):
        none(Cursor(("coinbase", 59)))
