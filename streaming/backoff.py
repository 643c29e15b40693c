"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_HOLD_SECONDS = 300.0
"""No venue may make us wait longer."""


class Backoff:
    """Exponential back-off with full jitter: many clients that lost one venue must not come back in step.

    Args:
        first: The longest first pause, in seconds; it doubles with each try.
        longest: No pause is longer, in seconds.
        chance: Gives numbers from 0 to 1.
    """

    def __init__(self, first: float, longest: float, *, chance: Callable[[], float] = random.random) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._ceiling = first

    def next(self) -> float:
        """Return the next pause in seconds."""
        pause = self._ceiling * self._chance()
        self._ceiling = min(self._ceiling * 2, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again: the last try succeeded."""
        self._ceiling = self._first


def retry_after(header: str | None, now: float) -> float:
    """Return the seconds that a `Retry-After` header asks for: a number, or a date; 0 without, at most five minutes.

    Args:
        header: As the exchange sent it.
        now: Seconds since 1970.
    """
    if header is None:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return 0.0
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), LONGEST_HOLD_SECONDS)
