"""The replica's server: the feed at `/coinbase/ws`, REST below `/coinbase`, Bybit, CoinGecko, health, faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.web_runner import GracefulExit

from stack.replica import frames
from stack.replica.bybit.feed import Bybit
from stack.replica.bybit.rest import BybitRest
from stack.replica.clock import Clock
from stack.replica.coingecko.rest import CoinGecko
from stack.replica.faults import Faults
from stack.replica.feed import Connection, End, Feed
from stack.replica.limits import ClientLimits, TokenBucket
from stack.replica.plan import Plan
from stack.replica.recordings import HOUR
from stack.replica.rest import Rest
from stack.replica.tape import Tape

CONNECTS_A_SECOND = 8
CONNECT_BURST = 20
MESSAGES_A_SECOND = 100
LONGEST_MESSAGE = 64 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the server serves.

    Args:
        seconds: The clock of rate limits, which is this machine's whatever the exchange's time is.
        subscribe_within: Seconds after which a connection without a subscription is closed.
        goodbye_within: Seconds that a closing connection has to take what is left for it.
    """

    tape: Tape
    clock: Clock
    faults: Faults
    seconds: Callable[[], float] = time.monotonic
    subscribe_within: float = 5.0
    goodbye_within: float = 2.0


def make_app(exchange: Exchange) -> web.Application:
    """Make the server's application; its feed plays while the application runs."""
    tape, clock, faults = exchange.tape, exchange.clock, exchange.faults
    products = {product_id: _describe(tape, product_id) for product_id in tape.products}
    rest = Rest(tape, clock, faults, products, exchange.seconds)
    app = web.Application()
    server = _Server(exchange, products)
    bybit = Bybit(tape, clock, faults, products)
    app.cleanup_ctx.append(server.playing)
    app.on_shutdown.extend([server.hang_up, bybit.hang_up])
    app.add_routes(
        [
            web.get("/coinbase/ws", server.follow),
            web.get("/bybit/v5/public/{market}", bybit.follow),
            web.get("/health", server.health),
            web.get("/control/faults", server.list_faults),
            web.post("/control/faults", server.arm_faults),
            web.delete("/control/faults", server.disarm_faults),
        ]
    )
    app.add_subapp("/coinbase", rest.app())
    app.add_subapp("/bybit/v5/market", BybitRest(tape, clock, faults, products, exchange.seconds).app())
    app.add_subapp("/coingecko/api/v3", CoinGecko(tape, clock, faults, exchange.seconds).app())
    return app


def _describe(tape: Tape, product_id: str) -> frames.Product:
    track = tape.tracks.get(product_id)
    return frames.product(product_id, track.prices if track else (), track.sizes if track else ())


class _Server:
    """The handlers that are not the REST API's."""

    def __init__(self, exchange: Exchange, products: dict[str, frames.Product]) -> None:
        self._exchange = exchange
        self._products = products
        self._feed: Feed | None = None
        self._connects = ClientLimits(CONNECTS_A_SECOND, CONNECT_BURST, exchange.seconds)

    @property
    def feed(self) -> Feed:
        assert self._feed is not None, "the application is not running"
        return self._feed

    async def playing(self, app: web.Application) -> AsyncIterator[None]:
        """Play the feed while the application runs; if it fails, so does the server."""
        self._feed = Feed(self._exchange.tape, self._exchange.clock, self._exchange.faults, self._products)
        task = asyncio.create_task(self._feed.play())
        task.add_done_callback(_stop_if_failed)
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def hang_up(self, app: web.Application) -> None:
        """Say goodbye to all clients."""
        for connection in self.feed.connections:
            connection.finish("", WSCloseCode.GOING_AWAY)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection to the feed, from its opening to its end."""
        if not self._connects.take(request.remote):
            return web.Response(status=429)
        # A stalled connection answers neither pings nor a goodbye, so both are answered here.
        socket = web.WebSocketResponse(
            autoping=False, autoclose=False, max_msg_size=LONGEST_MESSAGE, timeout=self._exchange.goodbye_within
        )
        await socket.prepare(request)
        connection = self.feed.join()
        work = [
            asyncio.create_task(self._listen(socket, connection)),
            asyncio.create_task(_send(socket, connection)),
        ]
        try:
            ends: list[asyncio.Future[Any]] = [*work, connection.end]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.feed.leave(connection)
            for task in work:
                task.cancel()
            outcomes = await asyncio.gather(*work, return_exceptions=True)
        await self._end(request, socket, connection)
        for outcome in outcomes:
            # A client may go at any moment; anything else is an error of ours.
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome
        return socket

    async def _listen(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Do what the client asks, until it says goodbye."""
        messages = TokenBucket(MESSAGES_A_SECOND, MESSAGES_A_SECOND, self._exchange.seconds)
        try:
            async with asyncio.timeout(self._exchange.subscribe_within) as patience:
                async for message in socket:
                    if not messages.take():
                        connection.finish("ErrSlowRead")
                    elif message.type is WSMsgType.PING and not self.feed.is_stalled(connection):
                        await socket.pong(message.data)
                    elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                        self.feed.receive(connection, message.data)
                        if connection.subscribed:
                            patience.reschedule(None)
        except TimeoutError:
            connection.finish(f"no subscription within {self._exchange.subscribe_within:g} s")
        await self._exchange.clock.sleep_until(connection.stalled_until)

    async def _end(self, request: web.Request, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Close the socket as the connection's end wants it."""
        end = connection.end.result() if connection.end.done() else End("", WSCloseCode.OK)
        if end.reason is not None:
            # A client that reads no more cannot take the goodbye either.
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(self._exchange.goodbye_within):
                    if end.code == WSCloseCode.POLICY_VIOLATION:
                        await socket.send_frame(frames.error(end.reason), WSMsgType.TEXT)
                    await socket.close(code=end.code, message=end.reason.encode())
        if request.transport is not None:
            request.transport.abort()

    async def health(self, request: web.Request) -> web.Response:
        """Say that the server works, what time it is on the exchange, and how the recording was moved."""
        tape, clock = self._exchange.tape, self._exchange.clock
        return _json(
            {
                "status": "ok",
                "exchange_time": frames.wire_time(clock.now()),
                "speed": clock.speed,
                "tape_start": frames.wire_time(tape.start),
                "tape_hours": tape.length // HOUR,
                "shift_hours": tape.shift_hours,
                "products": tape.products,
                "connections": len(self.feed.connections),
            }
        )

    async def list_faults(self, request: web.Request) -> web.Response:
        """Say which faults are armed and what was injected."""
        return _json(self._exchange.faults.report())

    async def arm_faults(self, request: web.Request) -> web.Response:
        """Arm the faults of a plan beside those that are armed."""
        try:
            plan = msgspec.json.decode(await request.read(), type=Plan)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(
                text=frames.rest_message(str(error)).decode(), content_type="application/json"
            ) from error
        self._exchange.faults.arm(plan, self._exchange.clock.now())
        return _json(self._exchange.faults.report())

    async def disarm_faults(self, request: web.Request) -> web.Response:
        """Behave well from now on."""
        self._exchange.faults.disarm()
        return _json(self._exchange.faults.report())


def _stop_if_failed(playing: asyncio.Task[None]) -> None:
    if not playing.cancelled() and playing.exception() is not None:
        raise GracefulExit


async def _send(socket: web.WebSocketResponse, connection: Connection) -> None:
    """Send what is in the outbox as fast as the client takes it."""
    while True:
        await socket.send_frame(await connection.outbox.get(), WSMsgType.TEXT)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
