"""The recording as an endless tape: moved by whole hours, and played as a cycle whose ids and times go on rising."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

from stack.replica.recordings import HOUR, Play, Recording, Trade, microseconds

LISTED = (
    "ADA-USD", "AVAX-USD", "BCH-USD", "BTC-USD", "DOGE-USD", "DOT-USD", "ETH-USD", "LINK-USD", "LTC-USD", "SHIB-USD",
    "SOL-USD", "UNI-USD", "XRP-USD",
)  # fmt: skip
"""Products that the exchange has whether they were recorded or not; those that were not are silent."""

DAY = 24 * HOUR
_UNITS = 10**8
"""Volumes are added up in units of 0.00000001, the wire's own scale."""


class Place(NamedTuple):
    """Where a trade stands on the tape: in which cycle, and at which row of its product's track."""

    cycle: int
    row: int


@dataclass(frozen=True, slots=True)
class Day:
    """What a `ticker` says about the time before its trade; prices as text, volumes as numbers of base currency."""

    open_24h: str
    low_24h: str
    high_24h: str
    volume_24h: Decimal
    volume_30d: Decimal


class Track:
    """One product's trades, each once, in the order of their ids, at the times of the tape's first cycle."""

    def __init__(self, product_id: str, trades: Iterable[Trade], *, start: int, length: int, shift: int) -> None:
        """Lay out the trades.

        Args:
            product_id: The product.
            trades: The product's trades by id; of copies the first is kept.
            start: When the tape begins, already shifted.
            length: How long one cycle is.
            shift: What is added to the recorded times.
        """
        kept: dict[int, Trade] = {}
        for trade in trades:
            kept.setdefault(trade.trade_id, trade)
        ordered = [kept[trade_id] for trade_id in sorted(kept)]
        self.product_id = product_id
        self.start = start
        self.length = length
        self.ids = array("q", (trade.trade_id for trade in ordered))
        self.times = array("q", (trade.time + shift for trade in ordered))
        # An id is not shown before those below it, so what is visible is always a prefix.
        self.visible = array("q", accumulate(self.times, max))
        self.sequences = array("q", (trade.sequence for trade in ordered))
        self.prices = [trade.price for trade in ordered]
        self.sizes = [trade.size for trade in ordered]
        self.sides = [trade.side for trade in ordered]
        # The first id of a cycle follows the last id of the one before.
        self.id_span = self.ids[-1] - self.ids[0] + 1
        self.sequence_span = max(self.sequences) - min(self.sequences) + 1
        self.low_rows, self.high_rows = _running_extremes(self.prices)
        self.volumes = list(accumulate(int(Decimal(size) * _UNITS) for size in self.sizes))

    def trade(self, place: Place) -> Trade:
        """Return the trade at a place, with the id, time and sequence of its cycle."""
        cycle, row = place
        return Trade(
            self.product_id,
            self.ids[row] + cycle * self.id_span,
            self.times[row] + cycle * self.length,
            self.prices[row],
            self.sizes[row],
            self.sides[row],
            self.sequences[row] + cycle * self.sequence_span,
        )

    def place(self, trade_id: int) -> Place:
        """Find a trade of this track by its id."""
        cycle, offset = divmod(trade_id - self.ids[0], self.id_span)
        return Place(cycle, bisect_left(self.ids, self.ids[0] + offset))

    def last(self, now: int) -> Place | None:
        """Find the newest trade that is visible at a moment."""
        cycle, offset = divmod(now - self.start, self.length)
        if cycle < 0:
            return None
        visible = bisect_right(self.visible, self.start + offset)
        if visible:
            return Place(cycle, visible - 1)
        return Place(cycle - 1, len(self.ids) - 1) if cycle else None

    def page(self, now: int, *, above: int | None, below: int | None, limit: int) -> Iterator[Trade]:
        """Give trades visible at a moment with `above` < id < `below`, newest first, `limit` at most."""
        newest = self.last(now)
        if newest is None:
            return
        top, bottom = newest, self.ids[0] if above is None else max(above + 1, self.ids[0])
        if below is not None:
            cycle, offset = divmod(below - self.ids[0], self.id_span)
            top = min(newest, Place(cycle, bisect_left(self.ids, self.ids[0] + offset) - 1))
        cycle, row = top
        while cycle >= 0 and limit > 0:
            if row < 0:
                cycle, row = cycle - 1, len(self.ids) - 1
                continue
            if self.ids[row] + cycle * self.id_span < bottom:
                return
            yield self.trade(Place(cycle, row))
            row, limit = row - 1, limit - 1

    def day(self, place: Place) -> Day:
        """Sum up the 24 hours and 30 days before a trade; low and high reach back to the start of the tape."""
        cycle, row = place
        time = self.times[row] + cycle * self.length
        before = self.last(time - DAY)
        low, high = (self.low_rows[-1], self.high_rows[-1]) if cycle else (self.low_rows[row], self.high_rows[row])
        return Day(
            open_24h=self.prices[before.row if before else 0],
            low_24h=self.prices[low],
            high_24h=self.prices[high],
            volume_24h=self._volume(place) - self._volume(before),
            volume_30d=self._volume(place) - self._volume(self.last(time - 30 * DAY)),
        )

    def _volume(self, place: Place | None) -> Decimal:
        if place is None:
            return Decimal(0)
        return Decimal(place.cycle * self.volumes[-1] + self.volumes[place.row]) / _UNITS


def _running_extremes(prices: list[str]) -> tuple[array[int], array[int]]:
    """Say for each row which row up to it has the lowest price, and which the highest."""
    lows, highs = array("l"), array("l")
    low = high = 0
    values = [Decimal(price) for price in prices]
    for row, value in enumerate(values):
        low = row if value < values[low] else low
        high = row if value > values[high] else high
        lows.append(low)
        highs.append(high)
    return lows, highs


def products_of(recording: Recording) -> tuple[str, ...]:
    """Name the products that an exchange which plays this recording lists: no others can be subscribed to."""
    return tuple(sorted({*LISTED, *(play.trade.product_id for play in recording.plays)}))


class Tape:
    """All products of a recording on one time line."""

    def __init__(self, recording: Recording, *, shift_hours: int) -> None:
        """Lay the recording out, its times moved by so many hours."""
        self.shift_hours = shift_hours
        shift = shift_hours * HOUR
        self.start = microseconds(recording.span.first_hour) + shift
        self.length = recording.span.hours * HOUR
        recorded: dict[str, list[Trade]] = {}
        for play in recording.plays:
            recorded.setdefault(play.trade.product_id, []).append(play.trade)
        self.tracks = {
            product: Track(product, trades, start=self.start, length=self.length, shift=shift)
            for product, trades in sorted(recorded.items())
        }
        self.products = products_of(recording)
        self._at = array("q", (play.at + shift for play in recording.plays))
        self._tracks = list(self.tracks.values())
        numbers = {track.product_id: number for number, track in enumerate(self._tracks)}
        self._played_track = array("l", (numbers[play.trade.product_id] for play in recording.plays))
        self._played_row = array(
            "l",
            (bisect_left(self.tracks[play.trade.product_id].ids, play.trade.trade_id) for play in recording.plays),
        )

    def last(self, product_id: str, now: int) -> Trade | None:
        """Return the newest trade of a product at a moment; None if there was none yet."""
        track = self.tracks.get(product_id)
        place = track.last(now) if track else None
        return track.trade(place) if track and place else None

    def page(
        self, product_id: str, now: int, *, above: int | None = None, below: int | None = None, limit: int
    ) -> list[Trade]:
        """Return the trades of a product at a moment with `above` < id < `below`, newest first, `limit` at most."""
        track = self.tracks.get(product_id)
        return list(track.page(now, above=above, below=below, limit=limit)) if track else []

    def day(self, trade: Trade) -> Day:
        """Sum up the time before a trade of this tape."""
        track = self.tracks[trade.product_id]
        return track.day(track.place(trade.trade_id))

    def visible_at(self, trade: Trade) -> int:
        """Say from when a trade of this tape is seen: at its time, or later if one with a lower id is."""
        track = self.tracks[trade.product_id]
        cycle, row = track.place(trade.trade_id)
        return track.visible[row] + cycle * track.length

    def plays(self, after: int, through: int) -> Iterator[Play]:
        """Give what the live feed sends in the span `after` < time <= `through`, in its order, repeats included."""
        cycle, index = self._next_index(after)
        while (at := self._at[index] + cycle * self.length) <= through:
            track = self._tracks[self._played_track[index]]
            yield Play(at, track.trade(Place(cycle, self._played_row[index])))
            index += 1
            if index == len(self._at):
                cycle, index = cycle + 1, 0

    def next_play(self, after: int) -> int:
        """Return when the live feed next sends a trade."""
        cycle, index = self._next_index(after)
        return self._at[index] + cycle * self.length

    def _next_index(self, after: int) -> tuple[int, int]:
        cycle, offset = divmod(max(after, self.start - 1) - self.start, self.length)
        if cycle < 0:
            return 0, 0
        index = bisect_right(self._at, self.start + offset)
        return (cycle, index) if index < len(self._at) else (cycle + 1, 0)
