"""Candles of the tape, as the exchange's REST API gives them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from stack.replica.recordings import MINUTE, SECOND, Trade
from stack.replica.tape import Place, Track

GRANULARITIES = (60, 300, 900, 3600, 21600, 86400)
"""Seconds."""
MOST_ROWS = 300


class Candle(NamedTuple):
    """One row of the wire: its start in seconds from 1970 UTC, prices, volume of base currency."""

    time: int
    low: Decimal
    high: Decimal
    open: Decimal
    close: Decimal
    volume: Decimal


class Candles:
    """The candles of one product's track."""

    def __init__(self, track: Track) -> None:
        self._track = track
        places = sorted((Place(0, row) for row in range(len(track.ids))), key=lambda p: (track.times[p.row], p.row))
        minutes: dict[int, list[Trade]] = {}
        for place in places:
            trade = track.trade(place)
            minutes.setdefault((trade.time - track.start) // MINUTE, []).append(trade)
        self._minutes = {minute: _of_trades(0, trades) for minute, trades in minutes.items()}

    def rows(self, granularity: int, start: int, end: int, now: int) -> list[Candle]:
        """Return the candles from the one that holds `start` to the one that holds `end`, newest first.

        Intervals without trades up to `now` have no row.

        Args:
            granularity: Seconds, one of `GRANULARITIES`.
            start: A moment in microseconds.
            end: A moment in microseconds.
            now: What came later is not known yet.
        """
        track = self._track
        width = granularity * SECOND
        first = max(start // width * width, track.start // width * width)
        running = now // MINUTE * MINUTE
        parts: dict[int, list[Candle]] = {}
        for minute in range(max(first, track.start), min(end // width * width + width, running), MINUTE):
            candle = self._minutes.get((minute - track.start) % track.length // MINUTE)
            if candle is not None:
                parts.setdefault(minute // width * granularity, []).append(candle)
        if first <= running <= end // width * width + width - MINUTE and (trades := self._trades(running, now)):
            parts.setdefault(running // width * granularity, []).append(_of_trades(0, trades))
        return [_merged(time, minutes) for time, minutes in sorted(parts.items(), reverse=True)][:MOST_ROWS]

    def _trades(self, since: int, now: int) -> list[Trade]:
        """Return the trades of the running minute, oldest first."""
        found = []
        for trade in self._track.page(now, above=None, below=None, limit=len(self._track.ids)):
            if trade.time < since:
                break
            found.append(trade)
        return found[::-1]


def _of_trades(time: int, trades: Iterable[Trade]) -> Candle:
    prices, sizes = zip(*((Decimal(trade.price), Decimal(trade.size)) for trade in trades), strict=True)
    return Candle(time, min(prices), max(prices), prices[0], prices[-1], sum(sizes, Decimal(0)))


def _merged(time: int, parts: list[Candle]) -> Candle:
    """Put candles that follow each other together."""
    return Candle(
        time,
        min(part.low for part in parts),
        max(part.high for part in parts),
        parts[0].open,
        parts[-1].close,
        sum((part.volume for part in parts), Decimal(0)),
    )
