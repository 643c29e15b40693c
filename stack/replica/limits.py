"""Rate limits as the exchange keeps them."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """A bucket that fills at a rate, up to a burst; every request takes one token."""

    def __init__(self, rate: float, burst: int, seconds: Callable[[], float]) -> None:
        """Begin with a full bucket.

        Args:
            rate: Tokens a second.
            burst: How many tokens it holds.
            seconds: The clock.
        """
        self._rate = rate
        self._burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._filled_at = seconds()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        now = self._seconds()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ClientLimits:
    """A bucket for each client, known by its address."""

    def __init__(self, rate: float, burst: int, seconds: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._seconds = seconds
        self._buckets: dict[str | None, TokenBucket] = {}

    def take(self, client: str | None) -> bool:
        """Take a token from a client's bucket; False if there is none."""
        if client not in self._buckets:
            self._buckets[client] = TokenBucket(self._rate, self._burst, self._seconds)
        return self._buckets[client].take()
