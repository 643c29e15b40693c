"""The tape that the exchange stand-in plays: a recording moved by whole hours, and repeated without end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from tests.truth.recording import Trade

HOUR = timedelta(hours=1)


def hour_of(moment: datetime) -> datetime:
    """Return the start of the hour that a moment belongs to; hours are closed on the left."""
    return moment.replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Hole:
    """Ids that the exchange gave to trades which the tape does not have.

    The missing trades happened between `after` and `before`, both moments included: trades share timestamps.
    """

    product_id: str
    first_id: int
    last_id: int
    after: datetime
    before: datetime

    @property
    def count(self) -> int:
        """How many trades are missing."""
        return self.last_id - self.first_id + 1

    def moved(self, ids: int, time: timedelta) -> Hole:
        """Return the same hole in another cycle."""
        return Hole(self.product_id, self.first_id + ids, self.last_id + ids, self.after + time, self.before + time)

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether a missing trade may lie in [start, end)."""
        return self.after < end and self.before >= start


def holes_between(trades: Iterable[Trade]) -> list[Hole]:
    """Find the ids that are missing among trades of one product that are ordered by id."""
    ordered = list(trades)
    return [
        Hole(earlier.product_id, earlier.trade_id + 1, later.trade_id - 1, earlier.time, later.time)
        for earlier, later in pairwise(ordered)
        if later.trade_id > earlier.trade_id + 1
    ]


class Tape:
    """The trades of every product at every moment from the tape's first hour on.

    The cycle is the whole hours that hold the recording. In each further cycle the times are later by the cycle's
    length and the ids higher by the product's span, so that ids join without a hole.
    """

    def __init__(self, recording: Mapping[str, Sequence[Trade]], shift_hours: int) -> None:
        times = [trade.time for trades in recording.values() for trade in trades]
        shift = timedelta(hours=shift_hours)
        self.start = hour_of(min(times)) + shift
        self.length = hour_of(max(times)) + HOUR + shift - self.start
        self._cycle = {
            product: [replace(trade, time=trade.time + shift) for trade in trades]
            for product, trades in recording.items()
        }
        self._holes = {product: holes_between(trades) for product, trades in self._cycle.items()}

    @property
    def products(self) -> tuple[str, ...]:
        """The products that trade."""
        return tuple(sorted(self._cycle))

    def trades(self, product_id: str, start: datetime, end: datetime) -> list[Trade]:
        """Return a product's trades of [start, end) ordered by id; none for a product that the recording lacks.

        Raises:
            ValueError: If `start` is before the tape.
        """
        return [
            Trade(product_id, trade.trade_id + ids, trade.time + time, trade.price, trade.size, trade.side)
            for ids, time in self._cycles(product_id, start, end)
            for trade in self._cycle[product_id]
            if start <= trade.time + time < end
        ]

    def holes(self, product_id: str, start: datetime, end: datetime) -> list[Hole]:
        """Return the holes that touch [start, end); none lies between two cycles."""
        return [
            moved
            for ids, time in self._cycles(product_id, start, end)
            for hole in self._holes[product_id]
            if (moved := hole.moved(ids, time)).touches(start, end)
        ]

    def recorded_id(self, product_id: str, trade_id: int) -> int:
        """Return the id that a trade of any cycle has in the recording."""
        once = self._cycle[product_id]
        first, span = once[0].trade_id, once[-1].trade_id - once[0].trade_id + 1
        return first + (trade_id - first) % span

    def _cycles(self, product_id: str, start: datetime, end: datetime) -> Iterator[tuple[int, timedelta]]:
        """Give how much is added to ids and to times in each cycle that overlaps [start, end)."""
        if start < self.start:
            raise ValueError(f"the tape starts at {self.start}, after {start}")
        if once := self._cycle.get(product_id):
            span = once[-1].trade_id - once[0].trade_id + 1
            for cycle in range((start - self.start) // self.length, (end - self.start) // self.length + 1):
                yield cycle * span, cycle * self.length
