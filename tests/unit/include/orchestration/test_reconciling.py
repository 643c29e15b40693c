"""Our candles beside the exchange's, minute by minute."""

import importlib.util
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from include.contracts import gold
from include.contracts.venues import VENUES
from include.orchestration.reconciling import compare

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
KEY = {"venue": "coinbase", "market": "spot", "product_id": "BTC-USD", "window_start": NINE}
FACTS = dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal("1.10"))
TRADED = KEY | FACTS | {"status": "complete"}
EMPTY = KEY | dict.fromkeys(FACTS) | {"volume": Decimal(0), "status": "empty"}
THEIRS = KEY | FACTS


def agreement(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    return [row["agreement"] for row in compare(ours, theirs)]


def test_candles_with_the_same_numbers_are_equal_however_many_zeros_they_end_in():
    assert agreement([TRADED], [THEIRS | {"open": Decimal("1.1000")}]) == ["equal"]


@pytest.mark.parametrize("name", FACTS)
def test_a_candle_that_is_off_in_its_last_place_differs(name: str):
    assert agreement([TRADED], [THEIRS | {name: Decimal("1.10000001")}]) == ["differs"]


def test_an_empty_minute_is_equal_to_none_at_all():
    assert agreement([EMPTY], []) == ["equal"]


def test_a_minute_that_only_one_of_us_has_is_missing():
    assert agreement([TRADED], []) == ["theirs missing"]
    assert agreement([EMPTY], [THEIRS]) == agreement([], [THEIRS]) == ["ours missing"]


def test_a_comparison_has_both_candles_and_all_columns_of_its_table():
    (row,) = compare([TRADED], [THEIRS | {"close": Decimal(2)}])

    assert (row["close"], row["exchange_close"], row["status"]) == (Decimal("1.10"), Decimal(2), "complete")
    assert {*row, "reconciled_at"} == set(gold.CANDLE_RECONCILIATION.column_names)


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.name)
def test_a_venue_has_candles_exactly_if_something_fetches_them(venue: Any):
    assert venue.has_candles == (importlib.util.find_spec(f"streaming.{venue.name}.candles") is not None)
