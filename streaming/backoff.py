"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable


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
