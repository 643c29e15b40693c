"""What the stand-in trades as Bybit: the same tape in whole milliseconds, under the symbols of its markets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tests.truth.recording import Trade
from tests.truth.tables import MINUTE, Row, candle, windows
from tests.truth.tape import Tape

SPOT_IDS = 2_280_000_000_000_000_000
"""A spot trade has the tape's id above this."""
MILLISECOND = timedelta(milliseconds=1)
AS_LATE_AS = timedelta(minutes=10)
"""How far back a trade is looked for behind which later ones are told: a feed's times never run back."""


def trades(tape: Tape, symbol: str, start: datetime, end: datetime) -> list[Trade]:
    """Return a symbol's trades of [start, end) in the order in which they are told, with the tape's ids."""
    found, told = [], start - AS_LATE_AS
    for trade in tape.trades(symbol.replace("USDT", "-USD"), start - AS_LATE_AS, end):
        told = max(told, trade.time)
        found.append(replace(trade, product_id=symbol, time=told - timedelta(microseconds=told.microsecond % 1000)))
    return [trade for trade in found if start <= trade.time < end]


def silver_trades(market: str, of_symbol: Sequence[Trade]) -> list[Row]:
    """Return the rows of Silver that trades justify, with the columns that the venue itself says."""
    return [
        {
            "venue": "bybit",
            "market": market,
            "product_id": trade.product_id,
            "trade_time": trade.time,
            "price": trade.price,
            "size": trade.size,
            "side": trade.side,
        }
        for trade in of_symbol
    ]


def candles(market: str, of_symbol: Sequence[Trade], symbol: str, start: datetime, end: datetime) -> list[Row]:
    """Return the one-minute candles of [start, end) of a symbol that was followed without a break."""
    by_window = {window: [] for window in windows(start, end, MINUTE)}
    for trade in of_symbol:
        by_window[start + (trade.time - start) // MINUTE * MINUTE].append(trade)
    return [
        candle(symbol, window, MINUTE, inside, ()) | {"venue": "bybit", "market": market}
        for window, inside in by_window.items()
    ]
