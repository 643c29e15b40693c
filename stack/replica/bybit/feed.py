"""The feeds at `/bybit/v5/public/{market}`: each connection plays the tape by itself, from its subscriptions on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from stack.replica.bybit import frames
from stack.replica.bybit.frames import Market, Printed
from stack.replica.clock import Clock
from stack.replica.faults import Faults
from stack.replica.frames import Product
from stack.replica.recordings import SECOND, Trade
from stack.replica.tape import Tape

MILLISECOND = 1_000
"""Microseconds."""
EVERY = 100 * MILLISECOND
"""The exchange's rhythm: what is traded within it comes together."""
MOST_TRADES = 1024
"""In one frame."""
MOST_ARGS = 10
"""In one request of the spot market."""
ALL = 10**9


class _Request(msgspec.Struct):
    op: str = ""
    args: list[str] = []
    req_id: str = ""


class Connection:
    """One client of one market.

    Args:
        products: The other exchange's products by our symbols.
    """

    def __init__(
        self, market: Market, tape: Tape, clock: Clock, faults: Faults, products: Mapping[str, Product]
    ) -> None:
        self.stalled_until = 0
        self.is_cut = False
        """Whether it has ended without a word."""
        self._market = market
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._products = products
        self._words = frames.Words(market, {product.id: name for name, product in products.items()}, self._time)
        self._last_ids: dict[str, int] = {}
        self._states: dict[str, dict[str, str]] = {}

    def receive(self, text: str) -> Iterator[bytes]:
        """Do what a client asks; give the answers."""
        if self.is_stalled:
            return
        try:
            request = msgspec.json.decode(text, type=_Request)
        except msgspec.DecodeError:
            request = _Request()
        if request.op == "ping":
            yield frames.answer(self._market, "ping", request.req_id)
        elif request.op != "subscribe":
            yield frames.answer(self._market, request.op, request.req_id, "error:request not supported")
        elif refusal := self._refusal(request.args):
            yield frames.answer(self._market, "subscribe", request.req_id, refusal)
        else:
            # The first data comes before the acknowledgement, as it does from the exchange.
            yield from self._subscribe(request.args)
            yield frames.answer(self._market, "subscribe", request.req_id)

    @property
    def is_stalled(self) -> bool:
        """Whether it is open and silent, as a fault wants it."""
        return self._clock.now() < self.stalled_until

    def due(self) -> Iterator[bytes]:
        """Give what is to be sent by now: trades, and the tickers that they change."""
        now = self._clock.now()
        new = self._new_trades(now)
        if self.is_stalled:
            return
        yield from self._sent(new, now)
        if self.is_cut or self.is_stalled:
            return
        for symbol in self._states:
            if changed := self._changed(symbol, now):
                yield changed

    def next_due(self) -> int:
        """Return when it is worth looking again."""
        soon = self._clock.now() + EVERY
        return soon if self._faults.hold_back(self._words) else max(self._tape.next_play(soon - EVERY), soon)

    def leave(self) -> None:
        """Take note that the client is gone."""
        self._faults.forget_held(self._words)

    def _new_trades(self, now: int) -> list[Trade]:
        """Return what was traded since the last call, in the order of the tape whatever the rhythm."""
        found: list[Trade] = []
        for symbol, last_id in self._last_ids.items():
            new = self._tape.page(self._products[symbol].id, now, above=last_id, limit=ALL)[::-1]
            if new:
                self._last_ids[symbol] = new[-1].trade_id
                found += new
        return sorted(found, key=self._tape.visible_at)

    def _sent(self, new: Iterable[Trade], now: int) -> Iterator[bytes]:
        """Give the frames of trades, or what the faults make of them."""
        waiting = self._faults.overdue(now, self._words)
        for trade in new:
            delivery = self._faults.on_trade(trade, now, self._words)
            if delivery.drop:
                self.is_cut = True
                break
            if delivery.stall is not None:
                self.stalled_until = now + int(delivery.stall * SECOND)
                break
            if delivery.frames:
                yield from self._frames(waiting, now)
                yield from delivery.frames
                waiting = []
            waiting += delivery.trades
        yield from self._frames(waiting, now)

    def _frames(self, trades: Iterable[Trade], now: int) -> Iterator[bytes]:
        """Give the frames of trades, each of one symbol."""
        by_symbol: dict[str, list[Printed]] = {}
        for trade in trades:
            by_symbol.setdefault(self._words.product(trade), []).append(Printed(trade, self._time(trade)))
        for symbol, printed in by_symbol.items():
            for first in range(0, len(printed), MOST_TRADES):
                some = printed[first : first + MOST_TRADES]
                yield frames.trades(self._market, symbol, some, now // MILLISECOND)

    def _time(self, trade: Trade) -> int:
        return self._tape.visible_at(trade) // MILLISECOND

    def _refusal(self, args: list[str]) -> str | None:
        if self._market is Market.SPOT and len(args) > MOST_ARGS:
            return f"args size >{MOST_ARGS}"
        for arg in args:
            channel, _, symbol = arg.partition(".")
            if channel not in (frames.TRADES, frames.TICKERS) or symbol not in self._products:
                return f"error:handler not found,topic:{arg}"
        return None

    def _subscribe(self, args: list[str]) -> Iterator[bytes]:
        now = self._clock.now()
        for arg in args:
            channel, _, symbol = arg.partition(".")
            last = self._tape.last(self._products[symbol].id, now)
            if channel == frames.TRADES:
                self._last_ids[symbol] = last.trade_id if last else 0
            else:
                self._states[symbol] = self._state(symbol, last) if last else {}
                if last:
                    yield frames.ticker("snapshot", self._states[symbol], now // MILLISECOND)

    def _changed(self, symbol: str, now: int) -> bytes | None:
        last = self._tape.last(self._products[symbol].id, now)
        if last is None:
            return None
        before, state = self._states[symbol], self._state(symbol, last)
        self._states[symbol] = state
        if state == before:
            return None
        if not before or self._market is Market.SPOT:
            return frames.ticker("snapshot", state, now // MILLISECOND)
        changes = {name: text for name, text in state.items() if text != before[name]}
        return frames.ticker("delta", {"symbol": symbol} | changes, now // MILLISECOND)

    def _state(self, symbol: str, last: Trade) -> dict[str, str]:
        step = self._products[symbol].quote_increment
        return frames.state(self._market, symbol, last, self._tape.day(last), step)


def by_symbol(products: Mapping[str, Product]) -> dict[str, Product]:
    """Return the products of the tape by Bybit's symbols."""
    return {name.replace("-USD", "USDT"): product for name, product in products.items()}


class Bybit:
    """The exchange's public feeds.

    Args:
        products: The products of the tape by their own names.
    """

    def __init__(self, tape: Tape, clock: Clock, faults: Faults, products: Mapping[str, Product]) -> None:
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._products = by_symbol(products)
        self._sockets: set[web.WebSocketResponse] = set()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection, from its opening to its end."""
        name = request.match_info["market"]
        if name not in list(Market):
            return web.Response(status=404)
        connection = Connection(Market(name), self._tape, self._clock, self._faults, self._products)
        socket = web.WebSocketResponse(autoping=False)  # a stalled connection does not answer
        await socket.prepare(request)
        self._sockets.add(socket)
        turn = asyncio.Lock()
        playing = asyncio.create_task(self._play(request, socket, connection, turn))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await _send(socket, connection.receive(message.data), turn)
                elif message.type is WSMsgType.PING and not connection.is_stalled:
                    await socket.pong(message.data)
        finally:
            connection.leave()
            self._sockets.discard(socket)
            playing.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await playing
        return socket

    async def hang_up(self, app: web.Application) -> None:
        """Say goodbye to all clients."""
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    async def _play(
        self, request: web.Request, socket: web.WebSocketResponse, connection: Connection, turn: asyncio.Lock
    ) -> None:
        while True:
            await _send(socket, connection.due(), turn)
            if connection.is_cut:
                break
            await self._clock.sleep_until(connection.next_due())
        if request.transport is not None:
            request.transport.abort()


async def _send(socket: web.WebSocketResponse, due: Iterator[bytes], turn: asyncio.Lock) -> None:
    """Send frames as they are made, nothing else between them: a snapshot comes before what changes it."""
    async with turn:
        for frame in due:
            await socket.send_frame(frame, WSMsgType.TEXT)
