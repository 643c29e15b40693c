"""Bybit's REST API: the newest trades of a symbol, as far back as one reply goes; it has no pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp

from include.contracts.topics import BYBIT_DEAD_LETTERS
from streaming.backoff import retry_after
from streaming.bybit.parse import RecentReply, UnreadableError, UnreadableTrade, parse_reply
from streaming.drift import Drift
from streaming.metrics import Metrics
from streaming.ratelimit import TokenBucket
from streaming.records import Origin
from streaming.service import Service
from streaming.uncounted import Recent

log = logging.getLogger(__name__)

MOST_TRADES = {"linear": 1000, "spot": 60}
"""By market, how many trades a reply can have."""
REQUESTS_PER_SECOND = 60.0
"""The exchange allows 600 in five seconds per address; half of it is for whoever else asks from here."""
BURST = 60
TOO_MANY = 10006
BAN_SECONDS = 600.0
"""For so long the exchange shuts out an address that asks too often: it answers 403."""


class BybitRecentTrades:
    """The newest trades of one market's symbols, asked for within the exchange's request limit.

    Args:
        session: Of `streaming.session`, with the API's root as base address.
        market: Which market.
        metrics: Where requests are counted.
        limit: The exchange's request limit, which its markets share.
        dead_letter: Takes an element that is no trade.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        market: str,
        metrics: Metrics,
        limit: TokenBucket,
        dead_letter: Callable[[UnreadableTrade], Awaitable[None]],
    ) -> None:
        self._session = session
        self._market = market
        self._metrics = metrics
        self._limit = limit
        self._dead_letter = dead_letter

    async def trades(self, product_id: str) -> Recent | None:
        """Return a symbol's newest trades; None if the exchange does not give them now."""
        await self._limit.take()
        try:
            reply = await self._ask(product_id)
        except (aiohttp.ClientError, TimeoutError, UnreadableError, _RefusedError) as error:
            self._metrics.of(self._metrics.requests, type(error).__name__.strip("_")).inc()
            reason = str(error) or type(error).__name__
            log.warning("recent trades are not to be had", extra={"symbol": product_id, "reason": reason})
            return None
        self._metrics.of(self._metrics.requests, "ok").inc()
        for element in reply.unreadable:
            await self._dead_letter(element)
        return Recent(reply.trades, is_whole=not reply.unreadable)

    async def _ask(self, symbol: str) -> RecentReply:
        query: dict[str, str | int] = {"category": self._market, "symbol": symbol, "limit": MOST_TRADES[self._market]}
        async with self._session.get("v5/market/recent-trade", params=query) as response:
            body = await response.read()
        if response.status == HTTPStatus.FORBIDDEN:
            self._limit.hold(BAN_SECONDS)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._limit.hold(retry_after(response.headers.get("Retry-After"), time.time()))
        response.raise_for_status()
        reply = parse_reply(body, symbol)
        if reply.code == TOO_MANY:
            self._limit.hold(1.0)
        if reply.code:
            raise _RefusedError(f"{reply.code} {reply.words}")
        return reply


def request_limit() -> TokenBucket:
    """Return the exchange's request limit, for all who ask from one process."""
    return TokenBucket(REQUESTS_PER_SECOND, BURST)


def bury(running: Service, origin: Origin, drift: Drift) -> Callable[[UnreadableTrade], Awaitable[None]]:
    """Return what takes an element of a reply that is no trade: it goes to the dead letters.

    Args:
        drift: Where it is noted if a field has another type.
    """

    async def take(element: UnreadableTrade) -> None:
        await running.bury(element.raw, element.reason, BYBIT_DEAD_LETTERS, origin, drift)

    return take


class _RefusedError(Exception):
    """The exchange answered with a code other than 0."""
