"""Everything known of one product: which of its trades were seen, which are missing, how far it is closed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from streaming.gaps import Gap, TradeIds
from streaming.history import HistoryCursor
from streaming.progress import Progress, ProgressRecord, Stretch


@dataclass(frozen=True, slots=True)
class ProductKey:
    """Which product of which venue."""

    venue: str
    market: str
    product_id: str

    def __str__(self) -> str:
        """The key of its records on the topics of progress and events."""
        return f"{self.venue}/{self.market}/{self.product_id}"


@dataclass(frozen=True, slots=True)
class OwedHistory:
    """Trades from before we followed the product.

    Args:
        before_id: All of them have lower ids; None if no id is known yet.
        since: The oldest exchange time that is wanted.
        stretch: Settled when they are acknowledged.
        cursor: How far an earlier start came with it.
    """

    before_id: int | None
    since: datetime
    stretch: Stretch
    cursor: HistoryCursor | None = None


@dataclass(frozen=True, slots=True)
class OwedGap:
    """Trades that the feed left out.

    Args:
        stretch: Settled when the gap came to its end.
        looks: How often the venue's history has gone past the gap without filling it.
    """

    gap: Gap
    stretch: Stretch
    looks: int = 0


class Followed(Protocol):
    """The books of one product, whatever its trade ids prove."""

    key: ProductKey
    late_trades: int
    """Trades that came first when their time was already closed."""

    @property
    def last_time(self) -> datetime | None:
        """The latest exchange time of a message."""

    @property
    def last_trade_id(self) -> int | None:
        """The highest trade id that is known to exist, where ids are counted."""

    @property
    def closed_through(self) -> datetime | None:
        """How far the product is closed."""

    def news(self) -> ProgressRecord | None:
        """Return the progress if it is worth publishing: None if nothing moved, or nothing is closed yet."""

    def published(self, record: ProgressRecord) -> None:
        """Take note that the broker acknowledged a progress record."""


class Product:
    """One product of a venue whose trade ids are contiguous.

    Args:
        key: Which one.
        start: From when it is followed if there is no progress yet.
        stored: The progress published before this start.
        cursor: How far an earlier start came with the history; counts only without progress.
        work_came: Called when history or a gap is to be fetched.
        hour_closed: Called when the product's progress passes the end of an hour.
    """

    def __init__(
        self,
        key: ProductKey,
        start: datetime,
        stored: ProgressRecord | None = None,
        cursor: HistoryCursor | None = None,
        *,
        work_came: Callable[[], None] = lambda: None,
        hour_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.key = key
        self.late_trades = 0
        """Trades that came first when their time was already closed: the venue's heartbeat ran ahead of its trades."""
        self._ids = TradeIds(stored.last_trade_id if stored else None)
        if stored:
            self._progress = Progress(
                stored.covered_from, stored.closed_through, stored.last_trade_id, hour_closed=hour_closed
            )
        else:
            self._progress = Progress(start, hour_closed=hour_closed)
        self._published = stored
        self._has_asked_for_history = False
        self._histories: deque[OwedHistory] = deque()
        self._gaps: dict[Gap, OwedGap] = {}
        self._work_came = work_came
        if cursor and not stored:
            self._go_on_with_history(cursor)

    @property
    def last_trade_id(self) -> int | None:
        """The highest trade id that is known to exist."""
        return self._ids.highest

    @property
    def last_time(self) -> datetime | None:
        """The latest exchange time of a message."""
        return self._progress.last_time

    @property
    def closed_through(self) -> datetime | None:
        """How far the product is closed."""
        return self._progress.closed_through

    def trade(self, trade_id: int, time: datetime) -> Stretch:
        """Take note of a trade from the feed; settle the stretch when the broker has acknowledged it."""
        ids, progress = self._ids, self._progress
        if trade_id - 1 == ids.highest and not self._gaps:
            # Nearly every trade is the next one, with nothing missing before it.
            ids.highest = trade_id
            is_new, stretch = True, progress.owe()
        else:
            is_new, stretch = self._out_of_line(trade_id)
        closed = progress.closed_through
        if is_new and closed is not None and time < closed:
            self.late_trades += 1
        progress.mark(time, ids.highest)
        return stretch

    def _out_of_line(self, trade_id: int) -> tuple[bool, Stretch]:
        """Take note of a trade that is the first, repeated, late, after a gap or beside one; return if it is new."""
        ids = self._ids
        if ids.highest is None:
            self._owe_history(before_id=trade_id)
            ids.see(trade_id)
        elif trade_id > ids.highest:
            if gap := ids.see(trade_id):
                self._owe_gap(gap)
            if self._gaps:
                self._work_came()
        elif gap := ids.fill(trade_id):
            if not gap.missing or gap.is_due:
                self._work_came()
            # The gap's own stretch owes it: that one may be marked with a time after this trade's.
            stretch = self._gaps[gap].stretch
            stretch.owed += 1
            return True, stretch
        else:
            return False, self._progress.owe()
        return True, self._progress.owe()

    def heartbeat(self, last_trade_id: int | None, time: datetime) -> None:
        """Take note of a heartbeat: the venue's word on the product's last trade at that time.

        A trade that it speaks of and that has not come may be on its way: the next heartbeat makes it due.
        """
        self._ids.expect_no_more()
        if self._gaps:
            self._work_came()
        if self._ids.highest is None and (last_trade_id or not self._has_asked_for_history):
            self._owe_history(before_id=last_trade_id + 1 if last_trade_id else None)
            self._ids.highest = last_trade_id or None
        elif last_trade_id and (gap := self._ids.announce(last_trade_id)):
            self._owe_gap(gap)
        self._progress.mark(time, self._ids.highest)
        self._progress.seal()

    def connection_lost(self) -> None:
        """Expect nothing more from the connection: what was announced on it is due."""
        self._ids.expect_no_more()
        if self._gaps:
            self._work_came()

    def owe_hole(self, missing: range, history: OwedHistory, looks: int) -> None:
        """Take note of ids that the history left out; it is not settled before they are.

        Args:
            missing: The ids.
            history: Where they are missing.
            looks: 1 if it showed trades on both sides, 0 if it may just not have come as far as the feed.
        """
        gap = Gap(missing, f"the history goes on below {missing.start} and above {missing.stop - 1}", is_due=True)
        self._ids.gaps.append(gap)
        history.stretch.owed += 1
        self._gaps[gap] = OwedGap(gap, history.stretch, looks)
        self._work_came()

    def newest_of_history(self, trade_id: int) -> None:
        """Take note of the newest id of a history that was asked for without knowing any."""
        if self._ids.highest is None:
            self._ids.highest = trade_id

    def next_work(self) -> OwedHistory | OwedGap | None:
        """Return what is to be fetched next, history before gaps, or None; a gap is returned until it is `ended`."""
        if self._histories:
            return self._histories.popleft()
        return next((owed for gap, owed in self._gaps.items() if gap.is_due or not gap.missing), None)

    def ended(self, owed: OwedHistory | OwedGap) -> None:
        """Take note that a history or gap came to its end, everything fetched for it acknowledged."""
        if isinstance(owed, OwedGap):
            self._ids.gaps.remove(owed.gap)
            del self._gaps[owed.gap]
        owed.stretch.settle()

    def news(self) -> ProgressRecord | None:
        """Return the progress if it is worth publishing: None if nothing moved, or nothing is closed yet."""
        self._progress.advance()
        progress = self._progress
        if progress.closed_through is None:
            return None
        record = ProgressRecord(
            self.key.venue,
            self.key.market,
            self.key.product_id,
            progress.covered_from,
            progress.closed_through,
            progress.last_trade_id,
        )
        return None if record == self._published else record

    def published(self, record: ProgressRecord) -> None:
        """Take note that the broker acknowledged a progress record."""
        self._published = record

    def _owe_history(self, before_id: int | None) -> None:
        self._has_asked_for_history = True
        since = self._progress.closed_through or self._progress.covered_from
        self._progress.seal()
        self._histories.append(OwedHistory(before_id, since, self._progress.owe()))
        self._work_came()

    def _go_on_with_history(self, cursor: HistoryCursor) -> None:
        """Owe what an earlier start had not fetched yet; what it took from the feed is a gap like any other."""
        self._has_asked_for_history = True
        self._ids.highest = cursor.top - 1
        history = OwedHistory(cursor.below, self._progress.covered_from, self._progress.owe(), cursor)
        self._histories.append(history)
        for first, last in cursor.holes:
            self.owe_hole(range(first, last + 1), history, looks=0)
        self._work_came()

    def _owe_gap(self, gap: Gap) -> None:
        # What came before the gap is closed by itself, however long the gap takes.
        self._progress.seal()
        self._gaps[gap] = OwedGap(gap, self._progress.owe())
        if gap.is_due:
            self._work_came()
