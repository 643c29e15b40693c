"""The REST API below `/bybit/v5/market`: the newest trades of a symbol, without pages; with its limits and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from stack.replica.bybit import frames
from stack.replica.bybit.feed import MILLISECOND, by_symbol
from stack.replica.bybit.frames import Market, Printed
from stack.replica.clock import Clock
from stack.replica.faults import Faults
from stack.replica.frames import Product
from stack.replica.limits import ClientLimits
from stack.replica.tape import Tape

MOST_TRADES = {Market.LINEAR: 1000, Market.SPOT: 60}
DEFAULT_TRADES = {Market.LINEAR: 500, Market.SPOT: 60}
REQUESTS_A_SECOND = 120
BURST = 600
"""The exchange counts 600 requests in five seconds."""
WRONG = 10001
TOO_MANY = 10006


class BybitRest:
    """The handlers, with what they answer from.

    Args:
        products: The products of the tape by their own names.
        seconds: The clock of the rate limit.
    """

    def __init__(
        self,
        tape: Tape,
        clock: Clock,
        faults: Faults,
        products: Mapping[str, Product],
        seconds: Callable[[], float],
    ) -> None:
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._products = by_symbol(products)
        self._limits = ClientLimits(REQUESTS_A_SECOND, BURST, seconds)

    def app(self) -> web.Application:
        """Return the API as an application to mount somewhere."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get("/recent-trade", self._list_trades)])
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the rate limit, and let the faults have their way."""
        if not self._limits.take(request.remote):
            return web.Response(status=403, text="access too frequent")
        treatment = self._faults.on_request(request.path_qs, request.query.get("symbol"), self._clock.now())
        if treatment.delay:
            await self._clock.sleep(treatment.delay)
        if treatment.status is not None:
            refused = (TOO_MANY, "Too many visits!") if treatment.status == 429 else (treatment.status, "Server error")
            return self._refuse(*refused, status=treatment.status, headers=treatment.headers)
        return await handler(request)

    async def _list_trades(self, request: web.Request) -> web.Response:
        category, symbol = request.query.get("category"), request.query.get("symbol")
        if category not in list(Market):
            return self._refuse(WRONG, "params error: Category is invalid")
        if symbol not in self._products:
            return self._refuse(WRONG, "params error: Symbol Is Invalid")
        market = Market(category)
        limit = request.query.get("limit", str(DEFAULT_TRADES[market]))
        if not (limit.isascii() and limit.isdecimal() and int(limit)):
            return self._refuse(WRONG, "params error: limit is invalid")
        now = self._clock.now()
        trades = self._tape.page(self._products[symbol].id, now, limit=min(int(limit), MOST_TRADES[market]))
        printed = [Printed(trade, self._tape.visible_at(trade) // MILLISECOND) for trade in trades]
        return _answer(frames.recent_trades(market, symbol, printed, now // MILLISECOND))

    def _refuse(
        self, code: int, words: str, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        body = frames.rest_answer(code, words, {}, self._clock.now() // MILLISECOND)
        return _answer(body, status=status, headers=headers)


def _answer(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")
