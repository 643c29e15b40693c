"""A venue's request limit, shared by all who ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class TokenBucket:
    """So many requests a second, with a burst; whoever asks first is served first.

    Args:
        rate: Requests a second in the long run.
        burst: Requests that may go at once after a quiet time.
        clock: Seconds, monotonic.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self._held_until = self._filled_at

    def reserve(self) -> float:
        """Take one token, before its time if need be, and return the seconds to wait until it is due."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._tokens -= 1
        return max(-self._tokens / self._rate, self._held_until - now, 0.0)

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long: the venue said that it had enough."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    async def take(self) -> None:
        """Wait for one's turn."""
        if pause := self.reserve():
            await asyncio.sleep(pause)
