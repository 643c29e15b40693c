"""The truth is code too: its few rules, on rows small enough to check by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.truth import tables
from tests.truth.recorder import EDGE_PRODUCT, edge_trades, write_recording
from tests.truth.recording import Trade, read_recording
from tests.truth.tape import HOUR, Tape

pytestmark = pytest.mark.unit

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)


def trade(trade_id: int, after: timedelta, price: str = "10", size: str = "1", product: str = "BTC-USD") -> Trade:
    return Trade(product, trade_id, NINE + after, Decimal(price), Decimal(size), "buy")


def test_whatever_form_the_frames_have_the_facts_read_back_are_those_written(tmp_path):
    facts = {EDGE_PRODUCT: edge_trades(NINE)}

    folder = write_recording(tmp_path / "recording", facts, seed=1, repeated=0.5)

    assert {file.suffix for file in folder.iterdir()} == {".ndjson", ".gz", ".zst"}
    assert read_recording(folder) == facts


def test_a_second_cycle_joins_the_first_in_ids_and_in_hours():
    tape = Tape({"BTC-USD": [trade(5, timedelta(minutes=1)), trade(8, timedelta(minutes=59))]}, shift_hours=2)
    start = NINE + 2 * HOUR

    assert (tape.start, tape.length) == (start, HOUR)
    assert [(t.trade_id, t.time - start) for t in tape.trades("BTC-USD", start, start + 2 * HOUR)] == [
        (5, timedelta(minutes=1)),
        (8, timedelta(minutes=59)),
        (9, timedelta(minutes=61)),
        (12, timedelta(minutes=119)),
    ]
    assert [(hole.first_id, hole.last_id) for hole in tape.holes("BTC-USD", start, start + 2 * HOUR)] == [
        (6, 7),
        (10, 11),
    ]


def test_a_hole_touches_every_window_from_the_trade_before_it_to_the_trade_after_it():
    seconds = (timedelta(seconds=30), timedelta(seconds=150))
    tape = Tape({"BTC-USD": [trade(1, seconds[0]), trade(4, seconds[1])]}, shift_hours=0)

    rows = tables.candles(tape, ["BTC-USD"], NINE, NINE + timedelta(minutes=4), tables.MINUTE)

    assert [(row["status"], row["trade_count"]) for row in rows] == [("gap", 1), ("gap", 0), ("gap", 1), ("empty", 0)]


def test_open_and_close_follow_time_then_id_and_vwap_is_rounded_half_up():
    trades = [
        trade(1, timedelta(0), "1.00000000", "2.5"),
        trade(2, timedelta(0), "1.00000001", "2.5"),
        trade(3, timedelta(minutes=1)),
    ]

    row, _ = tables.candles(Tape({"BTC-USD": trades}, 0), ["BTC-USD"], NINE, NINE + 2 * tables.MINUTE, tables.MINUTE)

    assert row["vwap"] == Decimal("1.00000001")
    assert (row["open"], row["close"], row["high"]) == (Decimal(1), Decimal("1.00000001"), Decimal("1.00000001"))


def test_a_product_without_trades_has_empty_candles_and_a_day_without_prices():
    tape = Tape({"BTC-USD": [trade(1, timedelta(0))]}, shift_hours=0)

    (row,) = tables.candles(tape, ["DOGE-USD"], NINE, NINE + HOUR, HOUR)
    (day,) = tables.daily_metrics(tape, ["DOGE-USD"], [NINE])

    assert (row["status"], row["open"], row["volume"], row["trade_count"]) == ("empty", None, 0, 0)
    assert (day["open"], day["total_trades"], day["volatility"], day["max_drawdown"]) == (None, 0, None, None)


def test_a_window_is_open_while_an_hour_of_it_is_missing_and_has_the_trades_of_published_hours_only():
    tape = Tape({"BTC-USD": [trade(1, -HOUR), trade(2, HOUR, "30"), trade(3, 5 * HOUR, "20")]}, shift_hours=0)
    eight = NINE - HOUR

    some = tables.wide_candles(tape, ["BTC-USD"], [eight, NINE + 5 * HOUR], 4 * HOUR)
    whole = tables.wide_candles(tape, ["BTC-USD"], [eight + n * HOUR for n in range(4)], 4 * HOUR)

    assert [(row["window_start"], row["high"], row["trade_count"], row["status"]) for row in some] == [
        (eight, 10, 1, "open"),
        (eight + 4 * HOUR, 20, 1, "open"),
    ]
    assert [(row["window_start"], row["high"], row["trade_count"], row["status"]) for row in whole] == [
        (eight, 30, 2, "complete")
    ]


def test_drawdown_is_the_deepest_fall_from_a_peak_before_it():
    closes = [Decimal(price) for price in ("100", "80", "120", "90", "110")]

    assert tables.drawdown(closes) == pytest.approx(0.25)
