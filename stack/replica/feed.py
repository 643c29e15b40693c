"""The live feed: plays the tape to its connections, each getting what it is subscribed to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import WSCloseCode

from stack.replica import frames
from stack.replica.clock import Clock
from stack.replica.faults import Faults
from stack.replica.recordings import SECOND, Trade
from stack.replica.subscriptions import Channel, Wanted, added, read_request, taken_away
from stack.replica.tape import Tape

log = logging.getLogger(__name__)

STATUS_EVERY = 10
"""Seconds between two `status` frames."""
_TOO_LATE = 30 * SECOND
"""Who is this late was asleep, as a laptop may be; an exchange would have cut the connections meanwhile."""
_MOST_WAITING = 20_000
"""Frames; a client that lets more of them wait reads too slowly."""


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ends: with a reason told to the client, or, without one, as if a cable was cut."""

    reason: str | None
    code: int


@dataclass(slots=True)
class Connection:
    """One client of the feed."""

    subscribed: Wanted = field(default_factory=dict)
    outbox: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    end: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stalled_until: int = 0

    def send(self, frame: bytes) -> None:
        """Put a frame into the outbox; a client that does not empty it is disconnected."""
        try:
            self.outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.finish("ErrSlowConsume")

    def finish(self, reason: str | None, code: int = WSCloseCode.POLICY_VIOLATION) -> None:
        """End the connection; the first reason counts."""
        if not self.end.done():
            self.end.set_result(End(reason, code))


class Feed:
    """The tape as its connections hear it.

    Everything up to one moment has been sent and nothing after it, so what a new subscriber is told of the past and
    what is sent from there on always join.
    """

    def __init__(self, tape: Tape, clock: Clock, faults: Faults, products: Mapping[str, frames.Product]) -> None:
        self.connections: list[Connection] = []
        self._tape = tape
        self._clock = clock
        self._faults = faults
        self._products = products
        self._sent_through = clock.now()
        self._occupied = asyncio.Event()

    def join(self) -> Connection:
        """Take in a new client."""
        self.advance()
        connection = Connection()
        self.connections.append(connection)
        self._occupied.set()
        return connection

    def leave(self, connection: Connection) -> None:
        """Forget a client."""
        self.connections.remove(connection)
        if not self.connections:
            self._occupied.clear()
            self._faults.forget_held()

    async def play(self) -> None:
        """Send what is due when it is due, for ever."""
        while True:
            await self._occupied.wait()
            self.advance()
            next_second = (self._sent_through // SECOND + 1) * SECOND
            await self._clock.sleep_until(min(next_second, self._tape.next_play(self._sent_through)))

    def advance(self) -> None:
        """Send everything that is due by now: trades, and at each full second what is sent by the clock."""
        now = self._clock.now()
        if self.connections and now - self._sent_through > _TOO_LATE * self._clock.speed:
            log.warning("asleep for %.0f s of exchange time: connections cut", (now - self._sent_through) / SECOND)
            for connection in self.connections:
                connection.finish(None)
        if all(connection.end.done() for connection in self.connections):
            self._sent_through = max(now, self._sent_through)
        while (second := (self._sent_through // SECOND + 1) * SECOND) <= now:
            self._send_trades(second)
            self._send_by_the_clock(second)
        self._send_trades(now)

    def receive(self, connection: Connection, text: str) -> None:
        """Do what a client's message asks: subscribe or unsubscribe, and say what is wrong with it."""
        self.advance()
        if self.is_stalled(connection):
            return
        request = read_request(text, self._products)
        for problem in request.problems:
            connection.send(frames.error("Failed to subscribe", problem))
        if not request.wanted:
            return
        change = added if request.subscribe else taken_away
        connection.subscribed = change(connection.subscribed, request.wanted)
        connection.send(frames.subscriptions(connection.subscribed))
        if request.subscribe:
            self._tell_what_was(connection, request.wanted)

    def is_stalled(self, connection: Connection) -> bool:
        """Say whether a fault keeps everything from this client."""
        return connection.stalled_until > self._sent_through

    def _tell_what_was(self, connection: Connection, wanted: Wanted) -> None:
        """Send a new subscriber the last trade of each product, from which its live trades go on."""
        if Channel.STATUS in wanted:
            connection.send(frames.status(self._products.values()))
        for product_id in wanted.get(Channel.TICKER, ()):
            if last := self._tape.last(product_id, self._sent_through):
                connection.send(self._ticker(last))
        for product_id in wanted.get(Channel.MATCHES, ()):
            if last := self._tape.last(product_id, self._sent_through):
                connection.send(frames.match(last, last=True))

    def _send_trades(self, through: int) -> None:
        for play in self._tape.plays(self._sent_through, through):
            self._sent_through = play.at
            if self._listeners(play.trade.product_id, Channel.MATCHES, Channel.TICKER):
                self._send_trade(play.trade)
        self._sent_through = max(through, self._sent_through)

    def _send_trade(self, trade: Trade) -> None:
        """Send one trade, or what the faults make of it."""
        delivery = self._faults.on_trade(trade, self._sent_through, earlier=self._tape.last)
        for connection in self.connections:
            if delivery.drop:
                connection.finish(None)
            if delivery.stall is not None:
                connection.stalled_until = self._sent_through + int(delivery.stall * SECOND)
        for frame in delivery.frames:
            self._send(frame, self._listeners(trade.product_id, Channel.MATCHES, Channel.TICKER))
        for due in delivery.trades:
            self._send_frames_of(due)

    def _send_frames_of(self, trade: Trade) -> None:
        """Send the match and the ticker of a trade, side by side."""
        if listeners := self._listeners(trade.product_id, Channel.MATCHES):
            self._send(frames.match(trade), listeners)
        if listeners := self._listeners(trade.product_id, Channel.TICKER):
            self._send(self._ticker(trade), listeners)

    def _send_by_the_clock(self, second: int) -> None:
        """Send what a full second brings."""
        for trade in self._faults.overdue(second):
            self._send_frames_of(trade)
        for product_id in self._products:
            if listeners := self._listeners(product_id, Channel.HEARTBEAT):
                self._send(frames.heartbeat(product_id, self._tape.last(product_id, second), second), listeners)
        if second // SECOND % STATUS_EVERY == 0:
            listeners = [connection for connection in self._reachable() if Channel.STATUS in connection.subscribed]
            self._send(frames.status(self._products.values()), listeners)

    def _reachable(self) -> Iterable[Connection]:
        """Give the connections that neither end nor stall."""
        return (one for one in self.connections if not (one.end.done() or self.is_stalled(one)))

    def _listeners(self, product_id: str, *channels: Channel) -> list[Connection]:
        """Return who is subscribed to a product on one of these channels, and can be reached."""
        return [
            connection
            for connection in self._reachable()
            if any(product_id in connection.subscribed.get(channel, ()) for channel in channels)
        ]

    @staticmethod
    def _send(frame: bytes, listeners: Iterable[Connection]) -> None:
        for connection in listeners:
            connection.send(frame)

    def _ticker(self, trade: Trade) -> bytes:
        return frames.ticker(trade, self._tape.day(trade), self._products[trade.product_id].quote_increment)
