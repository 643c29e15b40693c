"""Rows of two sides of a branch, counted by the table's grain."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from include.contracts import gold
from include.orchestration.hours import Hour
from include.orchestration.row_changes import RowChanges, _count, hours_of
from tests.unit.include.quality.rows import NINE, frame

pytestmark = pytest.mark.unit

HOUR = timedelta(hours=1)


def candles(*rows: dict[str, Any]) -> pa.Table:
    return frame(gold.OHLCV_1H, *({"window_start": NINE} | row for row in rows))


def test_rows_are_told_apart_by_the_grain_and_compared_by_all_columns():
    old = candles({"product_id": "SAME"}, {"product_id": "GONE"}, {"product_id": "OTHER", "close": Decimal(2)})
    new = candles({"product_id": "OTHER", "close": Decimal(3)}, {"product_id": "NEW"}, {"product_id": "SAME"})

    assert _count(old, new, gold.OHLCV_1H) == (1, 1, 1, (NINE,))


def test_rows_that_were_only_written_to_another_file_are_no_change():
    rows = candles({"product_id": "A"}, {"product_id": "B", "open": None})

    assert _count(rows, rows.take([1, 0]), gold.OHLCV_1H) == (0, 0, 0, ())


def test_a_row_that_is_there_twice_counts_twice():
    assert _count(candles({}), candles({}, {}), gold.OHLCV_1H) == (1, 0, 0, (NINE,))


def test_one_side_alone_is_all_added_or_all_removed():
    rows = candles({"product_id": "A"}, {"product_id": "B", "window_start": NINE + HOUR})

    assert _count(None, rows, gold.OHLCV_1H) == (2, 0, 0, (NINE, NINE + HOUR))
    assert _count(rows, None, gold.OHLCV_1H) == (0, 2, 0, (NINE, NINE + HOUR))
    assert _count(None, None, gold.OHLCV_1H) == (0, 0, 0, ())


def test_a_column_that_one_side_lacks_makes_no_row_another():
    old = candles({"product_id": "A"})

    assert _count(old, old.append_column("spread", pa.array([1])), gold.OHLCV_1H) == (0, 0, 0, ())


def test_a_table_that_no_contract_knows_is_compared_by_whole_rows():
    old, new = pa.table({"id": [1, 2], "price": [1, 2]}), pa.table({"id": [1, 2], "price": [1, 3]})

    assert _count(old, new, None) == (1, 1, 0, ())


def test_a_changed_window_is_judged_by_its_newest_published_hour():
    eight = NINE - HOUR
    changed = RowChanges(rows=9, added=1, removed=0, changed=0, windows=(eight,))
    published = [eight - HOUR, eight, NINE]

    assert hours_of({"gold.ohlcv_1h": changed}, published) == [Hour(eight)]
    assert hours_of({"gold.ohlcv_4h": changed}, published) == [Hour(NINE)]
    assert hours_of({"gold.ohlcv_4h": changed}, []) == [Hour(eight)], "the gate says that there is no such hour"


def test_what_has_no_hours_is_judged_by_the_newest_one_and_what_did_not_change_not_at_all():
    changed = RowChanges(rows=3, added=0, removed=0, changed=1)

    assert hours_of({"gold.price_latest": changed}, [NINE, NINE - HOUR]) == [Hour(NINE)]
    assert hours_of({"gold.price_latest": RowChanges(3, 0, 0, 0)}, [NINE]) == []
