"""When the next request is due: as often as wished, as far as the venue's limits for a minute and a month allow.

What is left of a month is spread evenly over it: spent as fast as the minute allows, a month's requests would be gone
in days, and its rest would have no prices. Pure: the clock comes from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How often the venue may be asked.

    Args:
        every: The time between two requests that is wished for.
        per_minute: Requests in a minute.
        per_month: Requests in a calendar month, UTC.
    """

    every: timedelta
    per_minute: int
    per_month: int


class Spent(msgspec.Struct, frozen=True):
    """The requests of one month; whether they were answered does not matter.

    Args:
        month: Its first moment; None if nothing was ever asked.
        requests: How many.
        last_at: When the last one was made.
    """

    month: datetime | None = None
    requests: int = 0
    last_at: datetime | None = None

    def one_more(self, now: datetime) -> Spent:
        """Count a request that is made now."""
        return Spent(_month(now), self.of_month(now) + 1, now)

    def of_month(self, now: datetime) -> int:
        """Return how many requests were made in the month of a moment."""
        return self.requests if self.month == _month(now) else 0


def left(spent: Spent, limits: Limits, now: datetime) -> int:
    """Return how many requests are left of the month."""
    return max(limits.per_month - spent.of_month(now), 0)


def due(spent: Spent, limits: Limits, now: datetime) -> datetime:
    """Return when the next request may be made: at once if none was made before.

    A last request in the future, where the clock was set back, counts as one made now.
    """
    end = _next_month(now)
    if not (requests := left(spent, limits, now)):
        return end
    if spent.last_at is None:
        return now
    last = min(spent.last_at, now)
    share = (end - max(last, _month(now))) / requests
    return last + max(limits.every, MINUTE / limits.per_minute, share)


def _month(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _next_month(now: datetime) -> datetime:
    return _month(_month(now) + timedelta(days=31))
