from __future__ import annotations

from decimal import Decimal

import pytest

from stack.replica.candles import Candle, Candles
from stack.replica.recordings import HOUR, MINUTE, SECOND
from stack.replica.tape import Tape
from tests.unit.stack.replica.market import FIVE, recording, trade

pytestmark = pytest.mark.unit

FIVE_S = FIVE // SECOND


@pytest.fixture
def candles() -> Candles:
    trades = (
        trade(1, 0, price="100.10", size="1"),
        trade(2, 30 * SECOND, price="99", size="0.00000001"),
        trade(3, 30 * SECOND, price="101", size="2"),
        trade(4, MINUTE, price="102", size="3"),
        trade(5, 10 * MINUTE, price="90", size="4"),
    )
    return Candles(Tape(recording(*trades), shift_hours=0).tracks["BTC-USD"])


def candle(after: int, low: str, high: str, opened: str, closed: str, volume: str) -> Candle:
    return Candle(FIVE_S + after, *map(Decimal, (low, high, opened, closed, volume)))


MINUTES = [
    candle(600, "90", "90", "90", "90", "4"),
    candle(60, "102", "102", "102", "102", "3"),
    candle(0, "99", "101", "100.10", "101", "3.00000001"),
]


def test_rows_are_newest_first_and_minutes_without_trades_have_none(candles):
    assert candles.rows(60, FIVE, FIVE + HOUR, FIVE + HOUR - 1) == MINUTES


def test_wider_candles_are_made_of_minutes(candles):
    assert candles.rows(300, FIVE, FIVE + HOUR - 1, FIVE + HOUR - 1) == [
        candle(600, "90", "90", "90", "90", "4"),
        candle(0, "99", "102", "100.10", "102", "6.00000001"),
    ]


def test_the_running_minute_holds_what_has_happened(candles):
    assert candles.rows(60, FIVE, FIVE + HOUR, FIVE + 29 * SECOND) == [
        candle(0, "100.10", "100.10", "100.10", "100.10", "1")
    ]
    assert candles.rows(3600, FIVE, FIVE + HOUR, FIVE + 60 * SECOND) == [
        candle(0, "99", "102", "100.10", "102", "6.00000001")
    ]


def test_candles_that_hold_the_edges_are_included(candles):
    assert candles.rows(60, FIVE + 59 * SECOND, FIVE + 61 * SECOND, FIVE + HOUR) == MINUTES[1:]


def test_the_cycle_goes_on(candles):
    assert candles.rows(60, FIVE + 2 * HOUR, FIVE + 2 * HOUR + MINUTE, FIVE + 3 * HOUR) == [
        candle(7260, "102", "102", "102", "102", "3"),
        candle(7200, "99", "101", "100.10", "101", "3.00000001"),
    ]


def test_there_are_none_before_the_tape_nor_after_now(candles):
    assert candles.rows(60, FIVE - HOUR, FIVE - 1, FIVE + HOUR) == []
    assert candles.rows(60, FIVE + HOUR, FIVE + 2 * HOUR, FIVE + HOUR - 1) == []
