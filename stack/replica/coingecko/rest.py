"""The REST API below `/coingecko/api/v3`: market data, as a cache before the venue gives it, with limits and errors."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from aiohttp import web
from aiohttp.typedefs import Handler

from stack.replica.clock import Clock
from stack.replica.coingecko import markets
from stack.replica.coingecko.markets import COINS
from stack.replica.faults import Faults
from stack.replica.limits import ClientLimits
from stack.replica.recordings import SECOND
from stack.replica.tape import Tape

MAX_AGE = 30 * SECOND
"""How long the cache gives a reply; then it asks the venue again."""
REFRESH = 60 * SECOND
"""How often the venue computes its prices anew."""
REQUESTS_A_MINUTE = 30
MOST_COINS = 250
"""In one reply."""
CURRENCY = "usd"
"""The one that the tape's prices are in."""
TOO_MANY = "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing"


class CoinGecko:
    """The handlers, with what they answer from.

    Args:
        seconds: The clock of the rate limit.
    """

    def __init__(self, tape: Tape, clock: Clock, faults: Faults, seconds: Callable[[], float]) -> None:
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._limits = ClientLimits(REQUESTS_A_MINUTE / 60, REQUESTS_A_MINUTE, seconds)

    def app(self) -> web.Application:
        """Return the API as an application to mount somewhere."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get("/coins/markets", self._list_markets), web.get("/{unknown:.*}", self._know_nothing)])
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the rate limit, and let the faults have their way."""
        if not self._limits.take(request.remote):
            return _answer(markets.status(429, TOO_MANY), status=429, headers={"Retry-After": "60"})
        treatment = self._faults.on_request(request.path_qs, None, self._clock.now())
        if treatment.delay:
            await self._clock.sleep(treatment.delay)
        if treatment.status is not None:
            body = markets.status(treatment.status, TOO_MANY if treatment.status == 429 else "Internal server error")
            return _answer(body, status=treatment.status, headers=treatment.headers)
        return await handler(request)

    async def _know_nothing(self, request: web.Request) -> web.Response:
        return _answer(markets.refusal("Incorrect path. Please check https://www.coingecko.com/api/"), status=404)

    async def _list_markets(self, request: web.Request) -> web.Response:
        """Give the coins of a page; ids that are not known are left out without a word."""
        currency = request.query.get("vs_currency")
        if currency is None:
            return _answer(markets.missing("vs_currency"), status=422)
        if currency != CURRENCY:
            return _answer(markets.refusal("invalid vs_currency"), status=422)
        per_page, page = _number(request, "per_page", 100), _number(request, "page", 1)
        if per_page is None or page is None or not (0 < per_page <= MOST_COINS and page > 0):
            return _answer(markets.refusal("invalid page"), status=422)
        wanted = request.query["ids"].split(",") if "ids" in request.query else [coin.id for coin in COINS]
        now = self._clock.now()
        filled = now // MAX_AGE * MAX_AGE
        body = self._page(wanted, filled // REFRESH * REFRESH, (page - 1) * per_page, page * per_page)
        headers = {
            "Cache-Control": f"public, max-age={MAX_AGE // SECOND}",
            "Etag": f'W/"{blake2b(body, digest_size=16).hexdigest()}"',
            "Age": str((now - filled) // SECOND),
            "Cf-Cache-Status": "HIT" if now - filled >= SECOND else "EXPIRED",
        }
        if request.headers.get("If-None-Match") == headers["Etag"]:
            return web.Response(status=304, headers=headers)
        return _answer(body, headers=headers)

    def _page(self, wanted: list[str], at: int, first: int, end: int) -> bytes:
        listed = [(rank, coin) for rank, coin in enumerate(COINS, start=1) if coin.id in wanted]
        found = []
        for rank, coin in listed[first:end]:
            last = self._tape.last(coin.product_id, at)
            found.append(markets.listing(rank, coin, last, self._tape.day(last) if last else None))
        return markets.markets(found)


def _number(request: web.Request, name: str, default: int) -> int | None:
    """Read a number of the query; None if it is none."""
    text = request.query.get(name, str(default))
    return int(text) if text.isascii() and text.isdecimal() else None


def _answer(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")
