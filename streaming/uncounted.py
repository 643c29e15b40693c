"""A product whose trade ids prove nothing: how far it is closed, and which times cannot be proved. Pure.

No id tells whether a trade is missing. What there is instead is the order of the venue's own stream of the product: on
one connection its trades come by their times, so a trade of time T says that every earlier one has come. Only a trade
of the product says so. What else comes on the connection, another product's trades, tickers, pongs, is not ordered with
them: recorded tickers ran up to 3 ms ahead of trades that were still to come. A product that does not trade is
therefore not closed, and its hour waits for it as for a silent one.

A connection that was lost proves nothing of what the venue sent meanwhile: from the last trade before it to the first
one after it there may be others. The venue's newest trades bridge such a break if they hold both and go on beyond the
first of them; then they hold all in between, and the product is covered on. Otherwise the time is told as unprovable,
and the product is covered anew from its end on. An hour that the time touches is not vouched for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from streaming.product import ProductKey
from streaming.progress import Progress, ProgressRecord, Stretch


class RecentTrade(NamedTuple):
    """One of the newest trades that a venue has of a product.

    Args:
        place: Its place among them, from 0, the oldest first.
        raw: The JSON of this trade alone, as received.
    """

    trade_id: str
    time: datetime
    place: int
    raw: bytes


class Recent(NamedTuple):
    """The newest trades that a venue has of a product.

    Args:
        trades: The oldest first.
        is_whole: Whether each of them could be read.
    """

    trades: Sequence[RecentTrade]
    is_whole: bool = True


class Finding(NamedTuple):
    """What the newest trades show of a break.

    Args:
        missed: The trades of its time that were not taken from the feed. At its ends one may be among them that was:
            others of those moments come beside the one that is known.
        flaw: Why there may be more, in words; None if these are all.
    """

    missed: Sequence[RecentTrade]
    flaw: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Break:
    """A time in which trades may be missing.

    Args:
        since: Its begin, the time of the last trade before, which belongs to it: of several trades of one moment only
            some may have come.
        until: Its end, which does not.
        reason: In words, for a person.
        last_ids: The trades of its first moment that have come; empty if an earlier start took them.
        first_id: The first trade after it.
        before: What is covered up to it; None if nothing is since this start.
        after: What is covered from its end on.
        stretch: Settled when it has ended; no progress passes it before.
    """

    since: datetime
    until: datetime
    reason: str
    last_ids: frozenset[str]
    first_id: str
    before: Progress | None
    after: Progress
    stretch: Stretch

    def find(self, recent: Recent) -> Finding | None:
        """Look for what was missed; None if the newest trades do not go as far as the first trade after the break."""
        ids = {trade.trade_id for trade in recent.trades}
        oldest = recent.trades[0].time if recent.trades else self.since
        if self.first_id not in ids:
            beyond = "the venue's newest trades begin after it"
            return Finding((), beyond) if oldest >= self.until else None
        taken = self.last_ids | {self.first_id}
        missed = [t for t in recent.trades if self.since <= t.time < self.until and t.trade_id not in taken]
        return Finding(missed, self._flaw(ids, oldest, recent))

    def _flaw(self, ids: set[str], oldest: datetime, recent: Recent) -> str | None:
        if not self.last_ids:
            return "no trade before it is known to this start"
        # The last trade alone would not do: others of its moment may lie just beyond the oldest.
        if oldest >= self.since or not self.last_ids <= ids:
            return "the venue's newest trades do not reach back to the last one before it"
        return None if recent.is_whole else "one of the venue's newest trades cannot be read"


class UncountedProduct:
    """One product of a venue whose trades come in the order of their times and whose ids are not contiguous.

    Args:
        key: Which one.
        tick: The resolution of the venue's times.
        stored: The progress published before this start.
        break_came: Called when there is a break to look into.
        hour_closed: Called when the product's progress passes the end of an hour.
    """

    def __init__(
        self,
        key: ProductKey,
        tick: timedelta,
        stored: ProgressRecord | None = None,
        *,
        break_came: Callable[[], None] = lambda: None,
        hour_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.key = key
        self.late_trades = 0
        """Trades that came when their time was already closed: the venue broke the order that it promises."""
        self.last_time: datetime | None = stored.closed_through if stored else None
        """The latest exchange time of a trade."""
        self._tick = tick
        self._last_ids: list[str] = []
        """The trades of that time."""
        self._broken_by: str | None = "the producer was not running"
        self._coverages: deque[Progress] = deque()
        self._published = stored
        self._breaks: deque[Break] = deque()
        self._break_came = break_came
        self._hour_closed = hour_closed

    @property
    def last_trade_id(self) -> None:
        """No id is the highest."""
        return None

    @property
    def closed_through(self) -> datetime | None:
        """How far the product is closed."""
        ends = (coverage.closed_through for coverage in reversed(self._coverages))
        published = self._published.closed_through if self._published else None
        return next((end for end in ends if end is not None), published)

    def lost(self, reason: str) -> None:
        """Promise nothing from the last trade on: the connection is lost, or something on it could not be read."""
        if self._broken_by is None:
            self._broken_by = reason
            self._coverages[-1].seal()

    def trade(self, trade_id: str, time: datetime) -> Stretch:
        """Take note of a trade; settle the stretch when the broker has acknowledged it."""
        if self._broken_by is not None:
            self._resume(trade_id, time, self._broken_by)
        coverage = self._coverages[-1]
        if coverage.closed_through is not None and time < coverage.closed_through:
            self.late_trades += 1
        if self.last_time is None or time > self.last_time:
            self.last_time, self._last_ids = time, [trade_id]
        elif time == self.last_time:
            self._last_ids.append(trade_id)
        stretch = coverage.owe()
        coverage.mark(time, None)
        return stretch

    def _resume(self, trade_id: str, time: datetime, reason: str) -> None:
        """Cover the product anew, from the first trade of a connection on; owe what is to be known of the break.

        There is no break where nothing had been promised yet.
        """
        self._broken_by = None
        before = self._coverages[-1] if self._coverages else None
        # Others of the same moment may have come before the subscription.
        until = max(time, self.last_time or time) + self._tick
        after = Progress(until, hour_closed=self._hour_closed)
        self._coverages.append(after)
        if self.last_time is not None:
            last_ids = frozenset(self._last_ids)
            self._breaks.append(Break(self.last_time, until, reason, last_ids, trade_id, before, after, after.owe()))
            self._break_came()

    def next_break(self) -> Break | None:
        """Return the first break that has not ended."""
        return self._breaks[0] if self._breaks else None

    def ended(self, *, is_bridged: bool) -> None:
        """Take note that the first break has ended, everything about it acknowledged.

        Args:
            is_bridged: Whether all trades of its time have come; then the product is covered as if it had not been.
        """
        ended = self._breaks.popleft()
        if is_bridged and ended.before is not None:
            ended.after.covered_from = ended.before.covered_from
        ended.stretch.settle()

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
