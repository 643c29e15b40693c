"""Which trade ids of one product were seen and which are missing. Pure: it knows no clock, network or topic.

Only for venues whose ids rise by exactly one: there a missing id proves a missing trade.
"""

from __future__ import annotations

from collections.abc import Iterator


class Gap:
    """Trade ids that exist and have not come.

    Args:
        missing: The ids.
        reason: How we know that they exist, in words.
        is_due: Whether to fetch them now. Ids that a heartbeat announced may still be on their way.
    """

    def __init__(self, missing: range, reason: str, *, is_due: bool) -> None:
        self.first = missing.start
        self.last = missing.stop - 1
        self.reason = reason
        self.is_due = is_due
        self.missing = [missing]

    @property
    def missing_count(self) -> int:
        """How many ids are still missing."""
        return sum(len(ids) for ids in self.missing)

    def fill(self, trade_id: int) -> bool:
        """Take note that a trade has come; return whether it was missing."""
        for place, ids in enumerate(self.missing):
            if trade_id in ids:
                rest = (range(ids.start, trade_id), range(trade_id + 1, ids.stop))
                self.missing[place : place + 1] = [part for part in rest if part]
                return True
        return False

    def outcome(self) -> Iterator[tuple[range, bool]]:
        """Give the gap's stretches of ids from first to last, each with whether it was filled."""
        at = self.first
        for ids in self.missing:
            if at < ids.start:
                yield range(at, ids.start), True
            yield ids, False
            at = ids.stop
        if at <= self.last:
            yield range(at, self.last + 1), True


class TradeIds:
    """One product's trade ids, as they come.

    Args:
        highest: The highest id that is known to exist; None before the first.
    """

    def __init__(self, highest: int | None = None) -> None:
        self.highest = highest
        self.gaps: list[Gap] = []

    def see(self, trade_id: int) -> Gap | None:
        """Take note of a trade above the highest; return the gap that it reveals."""
        revealed = None
        if self.highest is not None and trade_id != self.highest + 1:
            missing = range(self.highest + 1, trade_id)
            revealed = Gap(missing, f"trade {trade_id} came next after {self.highest}", is_due=True)
        for gap in self.gaps:
            gap.is_due = True  # later trades come already: what was announced before is not on its way
        if revealed:
            self.gaps.append(revealed)
        self.highest = trade_id
        return revealed

    def fill(self, trade_id: int) -> Gap | None:
        """Take note of a trade not above the highest; return the gap that it fills, or None if it is a repetition."""
        for gap in self.gaps:
            if gap.fill(trade_id):
                # Trades come in order: one that leaves a lower id missing shows that the lower one was left out.
                gap.is_due = gap.is_due or bool(gap.missing and gap.missing[0].start < trade_id)
                return gap
        return None

    def announce(self, trade_id: int) -> Gap | None:
        """Take note that the venue speaks of a trade; return the ids up to it that have not come, not yet due."""
        if self.highest is None or trade_id <= self.highest:
            return None
        announced = Gap(range(self.highest + 1, trade_id + 1), f"a heartbeat spoke of trade {trade_id}", is_due=False)
        self.gaps.append(announced)
        self.highest = trade_id
        return announced

    def expect_no_more(self) -> None:
        """Make every open gap due: what was announced had its time, or the connection that would bring it is lost."""
        for gap in self.gaps:
            gap.is_due = True
