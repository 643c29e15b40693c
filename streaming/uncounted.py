"""A product whose trade ids prove nothing: how far it is closed, and which times cannot be proved. Pure.

No id tells whether a trade is missing. What there is instead is the order of the venue's own stream of the product: on
one connection its trades come by their times, so a trade of time T says that every earlier one has come. Only a trade
of the product says so. What else comes on the connection, another product's trades, tickers, pongs, is not ordered with
them: recorded tickers ran up to 3 ms ahead of trades that were still to come. A product that does not trade is
therefore not closed, and its hour waits for it as for a silent one.

A connection that was lost proves nothing of what the venue sent meanwhile. From the last trade before it to the first
one after it there may be others; that time is told as unprovable, and the product is covered anew from its end on. An
hour that the time touches is not vouched for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from streaming.product import ProductKey
from streaming.progress import Progress, ProgressRecord, Stretch


class Unprovable(NamedTuple):
    """A time in which trades may be missing.

    Args:
        since: Its begin, which belongs to it: of several trades of one moment only some may have come.
        until: Its end, which does not.
        reason: In words, for a person.
    """

    since: datetime
    until: datetime
    reason: str


class UncountedProduct:
    """One product of a venue whose trades come in the order of their times and whose ids are not contiguous.

    Args:
        key: Which one.
        tick: The resolution of the venue's times.
        stored: The progress published before this start.
        hour_closed: Called when the product's progress passes the end of an hour.
    """

    def __init__(
        self,
        key: ProductKey,
        tick: timedelta,
        stored: ProgressRecord | None = None,
        *,
        hour_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.key = key
        self.late_trades = 0
        """Trades that came when their time was already closed: the venue broke the order that it promises."""
        self.last_time: datetime | None = stored.closed_through if stored else None
        """The latest exchange time of a trade."""
        self._tick = tick
        self._broken_by: str | None = "the producer was not running"
        self._coverages: deque[Progress] = deque()
        self._published = stored
        self._hour_closed = hour_closed

    @property
    def last_trade_id(self) -> None:
        """No id is the highest."""
        return None

    @property
    def closed_through(self) -> datetime | None:
        """How far the product is closed."""
        return self._coverages[-1].closed_through if self._coverages else None

    def lost(self, reason: str) -> None:
        """Promise nothing from the last trade on: the connection is lost, or something on it could not be read."""
        if self._broken_by is None:
            self._broken_by = reason
            self._coverages[-1].seal()

    def resume(self, time: datetime) -> tuple[Unprovable, Stretch] | None:
        """Cover the product anew if it is not covered, from the first trade of a connection on.

        Args:
            time: That trade's time; others of the same moment may have come before the subscription.

        Returns:
            The time that cannot be proved, and the stretch that is to be settled when the broker has acknowledged its
            event. None where nothing had been promised yet, or nothing is broken.
        """
        if self._broken_by is None:
            return None
        reason, self._broken_by = self._broken_by, None
        until = max(time, self.last_time or time) + self._tick
        coverage = Progress(until, hour_closed=self._hour_closed)
        self._coverages.append(coverage)
        return (Unprovable(self.last_time, until, reason), coverage.owe()) if self.last_time else None

    def trade(self, time: datetime) -> Stretch:
        """Take note of a trade, after `resume`; settle the stretch when the broker has acknowledged it."""
        coverage = self._coverages[-1]
        if coverage.closed_through is not None and time < coverage.closed_through:
            self.late_trades += 1
        if self.last_time is None or time > self.last_time:
            self.last_time = time
        stretch = coverage.owe()
        coverage.mark(time, None)
        return stretch

    def news(self) -> ProgressRecord | None:
        """Return the progress if it is worth publishing.

        What was covered up to a break is published to its end before what is covered after it: it closes the hours
        that ended before the break.
        """
        while self._coverages:
            coverage = self._coverages[0]
            coverage.advance()
            record = self._record(coverage)
            if record is not None and record != self._published:
                return record
            if len(self._coverages) == 1 or not coverage.is_settled:
                return None
            self._coverages.popleft()
        return None

    def published(self, record: ProgressRecord) -> None:
        """Take note that the broker acknowledged a progress record."""
        self._published = record

    def _record(self, coverage: Progress) -> ProgressRecord | None:
        """Return what is covered, once there is any of it."""
        through = coverage.closed_through
        if through is None or through < coverage.covered_from:
            return None
        return ProgressRecord(
            self.key.venue, self.key.market, self.key.product_id, coverage.covered_from, through, None
        )
