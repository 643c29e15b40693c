"""Coinbase Exchange's REST API: the trades of before, and those that the feed left out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp

from include.contracts.topics import COINBASE_DEAD_LETTERS
from include.contracts.venues import COINBASE
from streaming.backoff import Backoff, retry_after
from streaming.coinbase.parse import Page, UnreadableError, UnreadableTrade, parse_page
from streaming.drift import Drift
from streaming.metrics import Metrics
from streaming.ratelimit import TokenBucket
from streaming.records import Origin
from streaming.repair import HistoricTrade, UnknownProductError
from streaming.service import Service

log = logging.getLogger(__name__)

ORIGIN = Origin(COINBASE.name, COINBASE.markets[0])

REQUESTS_PER_SECOND = 9.0
"""The exchange allows 10 and bursts of 15 per address; the rest is for whoever else asks from here."""
BURST = 12


class CoinbaseArchive:
    """The exchange's history of trades, asked within its request limit.

    Args:
        session: Of `streaming.session`, with the API's root as base address.
        metrics: Where requests are counted.
        dead_letter: Takes an element of a product's page that is no trade.
        pauses: How long to wait after a failure.
        requests_per_second: In the long run.
        burst: How many may go at once after a quiet time.
    """

    page_size = 1000

    def __init__(
        self,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        dead_letter: Callable[[str, UnreadableTrade], Awaitable[None]],
        pauses: Callable[[], Backoff] = lambda: Backoff(0.25, 30.0),
        *,
        requests_per_second: float = REQUESTS_PER_SECOND,
        burst: int = BURST,
    ) -> None:
        self._session = session
        self._metrics = metrics
        self._dead_letter = dead_letter
        self._pauses = pauses
        self._limit = TokenBucket(requests_per_second, burst)

    async def trades(self, product_id: str, *, below: int | None, limit: int) -> list[HistoricTrade]:
        """Return the newest trades whose ids are below one, newest first; empty if there are none.

        The cursor is `after`: the exchange names pages by their place in the list, newest first, so older trades come
        "after" newer ones. Asks again, with growing pauses, until the exchange answers.

        Raises:
            UnknownProductError: If the exchange says that there is no such product.
        """
        query = {"limit": limit} | ({"after": below} if below is not None else {})
        pauses = self._pauses()
        while True:
            await self._limit.take()
            try:
                page = await self._ask(product_id, query, below)
            except (aiohttp.ClientError, TimeoutError, UnreadableError, _BusyError) as error:
                pause = pauses.next()
                if isinstance(error, _BusyError):
                    pause = max(pause, error.retry_after)
                    self._limit.hold(pause)
                self._metrics.of(self._metrics.requests, type(error).__name__.strip("_")).inc()
                log.warning(
                    "history is not to be had yet",
                    extra={"product_id": product_id, "reason": str(error) or type(error).__name__, "retry_in": pause},
                )
                await asyncio.sleep(pause)
                continue
            self._metrics.of(self._metrics.requests, "ok").inc()
            for element in page.unreadable:
                await self._dead_letter(product_id, element)
            return sorted(page.trades, reverse=True)

    async def _ask(self, product_id: str, query: dict[str, int], below: int | None) -> Page:
        async with self._session.get(f"products/{product_id}/trades", params=query) as response:
            body = await response.read()
        if response.status == HTTPStatus.NOT_FOUND:
            raise UnknownProductError(f"the exchange has no history of {product_id}: {body[:200]!r}")
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _BusyError(retry_after(response.headers.get("Retry-After"), time.time()))
        response.raise_for_status()
        page = parse_page(body)
        if page.unreadable and not page.trades:
            raise UnreadableError(page.unreadable[0].reason)  # an empty page would mean that the history ends here
        if below is not None and any(trade.trade_id >= below for trade in page.trades):
            raise UnreadableError(f"page of trades: asked for ids below {below}, got higher ones")
        return page


def bury(running: Service, drift: Drift | None = None) -> Callable[[str, UnreadableTrade], Awaitable[None]]:
    """Return what takes an element of a product's page that is no trade: it goes to the dead letters.

    Args:
        drift: Where it is noted if a field has another type.
    """

    async def take(product_id: str, element: UnreadableTrade) -> None:
        await running.bury(element.raw, element.reason, COINBASE_DEAD_LETTERS, ORIGIN, drift, product_id)

    return take


class _BusyError(Exception):
    """The exchange answered 429."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after
