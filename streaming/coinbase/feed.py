"""Coinbase Exchange's WebSocket feed: every frame to its topic, every trade to its product's books."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from websockets.exceptions import ConnectionClosed

from include.contracts import topics
from streaming.coinbase.messages import KNOWN_FIELDS, Error, Heartbeat, Match, Status, Subscriptions, Ticker
from streaming.coinbase.parse import UnreadableError, parse_frame, subscribe
from streaming.connection import Work
from streaming.delivery import Consignment
from streaming.feed import VenueFeed
from streaming.product import Product
from streaming.progress import Stretch
from streaming.records import Headers, Record
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

FIRST_HEARTBEAT_SECONDS = 10.0
HEARTBEATS_MISSED_SECONDS = 2.5
"""Two heartbeats, one a second, and a little for the way."""


class Batch:
    """What the frames of one read from the socket become: consignments that share their headers.

    A trade's is that of its stretch, which is settled when they are acknowledged; a ticker's that of its product.
    """

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.trades: dict[Stretch, Consignment] = {}
        self.tickers: dict[str, Consignment] = {}


class Feed(VenueFeed[Product]):
    """The feed of one stack; its products are those whose ids are counted."""

    known_fields = KNOWN_FIELDS
    dead_letters = topics.COINBASE_DEAD_LETTERS
    _watch: HeartbeatWatch
    _has_to_subscribe: asyncio.Event

    def _make_watch(self) -> HeartbeatWatch:
        return HeartbeatWatch()

    def _begin(self) -> tuple[Work, ...]:
        self._has_to_subscribe = asyncio.Event()
        self._has_to_subscribe.set()
        return (self._subscribe,)

    def _take(self, frames: list[bytes], received_at: int) -> Iterator[Record | Consignment]:
        batch = Batch(self._origin.headers("ws", received_at))
        for frame in frames:
            record = self._read(frame, batch)
            if record is not None:
                yield record
        yield from batch.trades.values()
        yield from batch.tickers.values()

    def _read(self, frame: bytes, batch: Batch) -> Record | None:
        """Enter one frame in the books and add it to its consignment; return a record if it becomes one of its own."""
        frames, longest = self._metrics.frames, self._drift.longest
        try:
            message = parse_frame(frame)
        except UnreadableError as error:
            frames["unreadable"] += 1
            return self._dead_letter(frame, str(error), batch.headers)
        if isinstance(message, Match):
            frames["matches"] += 1
            if len(frame) > longest["match"]:
                self._look("match", frame)
            name = message.product_id
            product = self._products.get(name)
            if product is None:
                return self._dead_letter(frame, f"{name} was not subscribed to", batch.headers)
            stretch = product.trade(message.trade_id, message.time)
            consignment = batch.trades.get(stretch)
            if consignment is None:
                like = Record(topics.COINBASE_TRADES.name, name, frame, batch.headers, stretch.settle)
                consignment = batch.trades[stretch] = Consignment(like, acknowledged=stretch.settle)
            consignment.values.append(frame)
            return None
        if isinstance(message, Ticker):
            frames["ticker"] += 1
            if len(frame) > longest["ticker"]:
                self._look("ticker", frame)
            name = message.product_id
            consignment = batch.tickers.get(name)
            if consignment is None:
                like = Record(topics.COINBASE_TICKERS.name, name, frame, batch.headers)
                consignment = batch.tickers[name] = Consignment(like)
            consignment.values.append(frame)
            return None
        if isinstance(message, Heartbeat):
            frames["heartbeat"] += 1
            if len(frame) > longest["heartbeat"]:
                self._look("heartbeat", frame)
            self._on_heartbeat(message)
            return None
        if isinstance(message, Status):
            frames["status"] += 1
            if len(frame) > longest["status"]:
                self._look("status", frame)
            return Record(topics.COINBASE_STATUS.name, self._origin.venue, frame, batch.headers)
        if isinstance(message, Error):
            frames["error"] += 1
            return self._on_error(message)
        if isinstance(message, Subscriptions):
            frames["subscriptions"] += 1
            log.info("subscribed", extra={"channels": {c.name: c.product_ids for c in message.channels}})
            return None
        self._ignore(message.type)
        return None

    def _look(self, kind: str, frame: bytes) -> None:
        self._drift.look(kind, frame, self._origin.market)

    def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        product = self._products.get(heartbeat.product_id)
        if product is not None:
            self._watch.beat(heartbeat.product_id)
            self._pauses.reset()
            product.heartbeat(heartbeat.last_trade_id, heartbeat.time)

    def _on_error(self, error: Error) -> Record:
        words = f"{error.message}: {error.reason}" if error.reason else error.message
        name = next((name for name in self._products if name in words.replace(",", " ").split()), None)
        if name is not None and name not in self._refused:
            self._has_to_subscribe.set()
        return self._refusal(name, words)

    def _none_is_left(self, names: str, words: str) -> str:
        return (
            f"the exchange accepts none of the products {names} (it says: {words}): "
            "set LAKE_PRODUCTS to products that it lists"
        )

    def _expect_no_more(self, reason: str) -> None:
        for product in self._products.values():
            product.connection_lost()

    async def _subscribe(self, connection: BatchConnection) -> None:
        """Subscribe to all products; again without those that the exchange refuses, as it may then refuse them all."""
        with suppress(ConnectionClosed):  # whoever receives will be told
            while await self._has_to_subscribe.wait():
                self._has_to_subscribe.clear()
                products = [name for name in self._products if name not in self._refused]
                await connection.send(subscribe(products), text=True)


class HeartbeatWatch:
    """Notices a connection on which nobody speaks any more, though nobody has closed it.

    Each product has heartbeats of its own; the one that is silent for longest counts.
    """

    def __init__(self) -> None:
        self._last_beats: dict[str, float] = {}
        self._alarm = asyncio.timeout(None)

    @asynccontextmanager
    async def over(self) -> AsyncIterator[None]:
        """Watch one connection.

        Raises:
            TimeoutError: If two heartbeats of a product are missing, or none came at all.
        """
        self._last_beats.clear()
        try:
            async with asyncio.timeout(FIRST_HEARTBEAT_SECONDS) as self._alarm:
                yield
        except TimeoutError:
            silent = min(self._last_beats, key=self._last_beats.__getitem__, default="any product")
            raise TimeoutError(f"the heartbeat of {silent} is missing") from None

    def beat(self, product_id: str) -> None:
        """Take note of a heartbeat."""
        self._last_beats[product_id] = asyncio.get_running_loop().time()
        self._alarm.reschedule(min(self._last_beats.values()) + HEARTBEATS_MISSED_SECONDS)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Do not count the time in which we ourselves do not read."""
        self._alarm.reschedule(None)
        yield
        now = asyncio.get_running_loop().time()
        self._last_beats = dict.fromkeys(self._last_beats, now)
        self._alarm.reschedule(now + FIRST_HEARTBEAT_SECONDS)
