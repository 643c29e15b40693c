"""The REST API: trades page by page, candles, products; with the exchange's limits and errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler

from stack.replica import frames
from stack.replica.candles import GRANULARITIES, MOST_ROWS, Candles
from stack.replica.clock import Clock
from stack.replica.faults import Faults
from stack.replica.limits import ClientLimits
from stack.replica.recordings import SECOND, microseconds
from stack.replica.tape import Tape

MOST_TRADES = 1000
REQUESTS_A_SECOND = 10
BURST = 15

_MESSAGES = {429: "Public rate limit exceeded", 500: "Internal server error"}


class Rest:
    """The handlers of one exchange, with what they answer from."""

    def __init__(
        self,
        tape: Tape,
        clock: Clock,
        faults: Faults,
        products: Mapping[str, frames.Product],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the handlers; `seconds` is the clock of the rate limit."""
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._products = products
        self._limits = ClientLimits(REQUESTS_A_SECOND, BURST, seconds)
        self._candles: dict[str, Candles] = {}

    def app(self) -> web.Application:
        """Return the API as an application to mount somewhere."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/products", self._list_products),
                web.get("/products/{product_id}", self._show_product),
                web.get("/products/{product_id}/trades", self._list_trades),
                web.get("/products/{product_id}/candles", self._list_candles),
                web.get("/{unknown:.*}", self._know_nothing),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the rate limit, and let the faults have their way."""
        if not self._limits.take(request.remote):
            return _answer(frames.rest_message(_MESSAGES[429]), status=429)
        product_id = request.match_info.get("product_id")
        treatment = self._faults.on_request(request.path_qs, product_id, self._clock.now())
        if treatment.delay:
            await self._clock.sleep(treatment.delay)
        if treatment.status is not None:
            message = _MESSAGES.get(treatment.status, _MESSAGES[500])
            return _answer(frames.rest_message(message), status=treatment.status, headers=treatment.headers)
        return await handler(request)

    async def _know_nothing(self, request: web.Request) -> NoReturn:
        _refuse(web.HTTPNotFound, "NotFound")

    def _product(self, request: web.Request) -> frames.Product:
        product = self._products.get(request.match_info["product_id"])
        return product or _refuse(web.HTTPNotFound, "NotFound")

    async def _list_products(self, request: web.Request) -> web.Response:
        return _answer(frames.rest_products(self._products.values()))

    async def _show_product(self, request: web.Request) -> web.Response:
        return _answer(frames.rest_product(self._product(request)))

    async def _list_trades(self, request: web.Request) -> web.Response:
        product = self._product(request)
        limit = _number(request, "limit")
        trades = self._tape.page(
            product.id,
            self._clock.now(),
            above=_number(request, "before"),
            below=_number(request, "after"),
            limit=MOST_TRADES if limit is None else min(limit, MOST_TRADES),
        )
        answer = _answer(frames.rest_trades(trades))
        if trades:
            answer.headers["cb-before"] = str(trades[0].trade_id)
            answer.headers["cb-after"] = str(trades[-1].trade_id)
        return answer

    async def _list_candles(self, request: web.Request) -> web.Response:
        product = self._product(request)
        granularity = _number(request, "granularity") or GRANULARITIES[0]
        if granularity not in GRANULARITIES:
            _refuse(web.HTTPBadRequest, "Unsupported granularity")
        now = self._clock.now()
        start, end = _moment(request, "start"), _moment(request, "end")
        if start is None or end is None:
            start, end = now - (MOST_ROWS - 1) * granularity * SECOND, now
        if end - start > MOST_ROWS * granularity * SECOND:
            _refuse(
                web.HTTPBadRequest,
                "granularity too small for the requested time range. "
                f"Count of aggregations requested exceeds {MOST_ROWS}",
            )
        track = self._tape.tracks.get(product.id)
        if track is None:
            return _answer(frames.rest_candles([]))
        if product.id not in self._candles:
            self._candles[product.id] = Candles(track)
        return _answer(frames.rest_candles(self._candles[product.id].rows(granularity, start, end, now)))


def _answer(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")


def _refuse(error: type[web.HTTPClientError], message: str) -> NoReturn:
    raise error(text=frames.rest_message(message).decode(), content_type="application/json")


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        _refuse(web.HTTPBadRequest, f"Invalid {name}: {text}")
    return int(text)


def _moment(request: web.Request, name: str) -> int | None:
    """Read a moment, ISO 8601 or seconds from 1970 UTC; one without a zone is UTC."""
    text = request.query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return int(text) * SECOND
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        _refuse(web.HTTPBadRequest, f"Invalid {name}: {text}")
    return microseconds(read if read.tzinfo else read.replace(tzinfo=UTC))
