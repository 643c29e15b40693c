"""CoinGecko's REST API: the market data of our coins, in one request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus

import aiohttp

from include.settings import Settings
from streaming.backoff import retry_after
from streaming.coingecko.parse import parse_refusal
from streaming.records import Origin

ORIGIN = Origin("coingecko", "usd")
"""The venue, and the currency that prices are asked for in."""
MOST_COINS = 250
"""In one reply."""
TOO_OFTEN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def credentials(settings: Settings) -> dict[str, str]:
    """Return the header by which the venue knows whose requests these are; the replica is told no secret."""
    key = settings.coingecko_api_key
    return {"x-cg-demo-api-key": key.get_secret_value()} if key and settings.exchange == "live" else {}


class BusyError(Exception):
    """The venue answered that it was asked too often, or has too much to do.

    Args:
        retry_after: The seconds that it asks for; 0 if it does not say.
    """

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class RefusedError(Exception):
    """The venue does not answer such a request; asked again it will say the same."""


class Markets:
    """`GET /coins/markets` for our coins; what the venue's cache gave last is not asked for again.

    Args:
        session: Of `streaming.session`, with the API's root as base address.
    """

    def __init__(self, session: aiohttp.ClientSession, coins: Sequence[str]) -> None:
        self._session = session
        self._query = {"vs_currency": ORIGIN.market, "ids": ",".join(coins), "per_page": str(MOST_COINS)}
        self._etag: str | None = None

    async def ask(self) -> bytes | None:
        """Return the body of the reply; None if nothing has changed since the last.

        Raises:
            BusyError: If the venue wants to be asked later.
            RefusedError: If it refuses the request.
            aiohttp.ClientError: If there is no answer, or the server failed.
            TimeoutError: If the answer takes too long.
        """
        conditions = {"If-None-Match": self._etag} if self._etag else {}
        async with self._session.get("coins/markets", params=self._query, headers=conditions) as response:
            body = await response.read()
        if response.status == HTTPStatus.NOT_MODIFIED:
            return None
        if response.status in TOO_OFTEN:
            raise BusyError(parse_refusal(body), retry_after(response.headers.get("Retry-After"), time.time()))
        if HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RefusedError(f"{response.status}: {parse_refusal(body)}")
        response.raise_for_status()
        self._etag = response.headers.get("Etag")
        return body
