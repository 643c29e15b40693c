"""Coinbase Exchange's WebSocket feed: every frame to its topic, every trade to its product's books."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime

from websockets.exceptions import ConnectionClosed

from include.contracts import topics
from streaming.backoff import Backoff
from streaming.coinbase.messages import KNOWN_FIELDS, Error, Heartbeat, Match, Status, Subscriptions, Ticker
from streaming.coinbase.parse import UnreadableError, parse_frame, subscribe
from streaming.connection import LOST, connected, pause_after, wait_for_room
from streaming.delivery import Consignment, Delivery
from streaming.drift import Drift
from streaming.events import Event, Kind
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.product import Product
from streaming.progress import Stretch
from streaming.records import Headers, Origin, Record
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

FIRST_HEARTBEAT_SECONDS = 10.0
HEARTBEATS_MISSED_SECONDS = 2.5
"""Two heartbeats, one a second, and a little for the way."""


class Batch:
    """What the frames of one read from the socket share: their headers, and consignments to send them with.

    A trade's consignment is that of its stretch, which each acknowledgement settles; a ticker's that of its product.
    """

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.trades: dict[Stretch, Consignment] = {}
        self.tickers: dict[str, Consignment] = {}


class Feed:
    """The feed of one stack.

    Args:
        url: Where the exchange listens.
        is_remote: Whether a proxy of the environment is to be used.
        products: The products to follow, by the exchange's names.
        origin: What the records say of where they come from.
        delivery: Where the frames go.
        metrics: Where they are counted.
        stop: When set, the connection is closed, and what it still gives is taken.
        drift: Where it is noted how frames differ from those that we know.
        clock: Nanoseconds since 1970.
    """

    def __init__(
        self,
        url: str,
        products: Mapping[str, Product],
        origin: Origin,
        delivery: Delivery,
        metrics: Metrics,
        stop: asyncio.Event,
        *,
        is_remote: bool,
        drift: Drift | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url
        self._is_remote = is_remote
        self._products = products
        self._origin = origin
        self._delivery = delivery
        self._metrics = metrics
        self._stop = stop
        self._drift = Drift(KNOWN_FIELDS) if drift is None else drift
        self._clock = clock
        self._pauses = Backoff(0.5, 30.0)
        self._watch = HeartbeatWatch()
        self._refused: set[str] = set()
        self._has_to_subscribe = asyncio.Event()
        self._unknown_types: set[str] = set()

    async def follow(self) -> None:
        """Follow the feed until told to stop: connect, subscribe, take frames, lose the connection, wait, again.

        Raises:
            RefusalError: If the exchange accepts none of the products.
        """
        while not self._stop.is_set():
            try:
                async with self._connected() as connection, self._watch.over():
                    while True:
                        frames, received_at = await connection.receive(), self._clock() // 1_000
                        batch = Batch(self._origin.headers("ws", received_at))
                        self._drift.now_is(received_at)
                        for frame in frames:
                            record = self._read(frame, batch)
                            if record is not None and not self._delivery.offer(record):
                                await wait_for_room(record, self._delivery, self._watch)
            except LOST as lost:
                if not self._stop.is_set():
                    await self._wait_before_reconnect(lost)

    def _read(self, frame: bytes, batch: Batch) -> Record | None:
        """Enter one frame in the books and send it; return a record if that is still to be sent."""
        frames, longest = self._metrics.frames, self._drift.longest
        try:
            message = parse_frame(frame)
        except UnreadableError as error:
            frames["unreadable"] += 1
            return self._dead_letter(frame, str(error), batch)
        if isinstance(message, Match):
            frames["matches"] += 1
            if len(frame) > longest["match"]:
                self._look("match", frame)
            name = message.product_id
            product = self._products.get(name)
            if product is None:
                return self._dead_letter(frame, f"{name} was not subscribed to", batch)
            stretch = product.trade(message.trade_id, message.time)
            consignment = batch.trades.get(stretch)
            if consignment is None:
                like = Record(topics.COINBASE_TRADES.name, name, frame, batch.headers, stretch.settle)
                consignment = batch.trades[stretch] = self._delivery.consignment(like)
            return None if consignment.offer(frame) else consignment.record(frame)
        if isinstance(message, Ticker):
            frames["ticker"] += 1
            if len(frame) > longest["ticker"]:
                self._look("ticker", frame)
            name = message.product_id
            consignment = batch.tickers.get(name)
            if consignment is None:
                like = Record(topics.COINBASE_TICKERS.name, name, frame, batch.headers)
                consignment = batch.tickers[name] = self._delivery.consignment(like)
            return None if consignment.offer(frame) else consignment.record(frame)
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
        frames["unknown"] += 1
        if message.type not in self._unknown_types:
            self._unknown_types.add(message.type)
            log.warning("messages of an unknown type are ignored", extra={"type": message.type})
        return None

    def _look(self, kind: str, frame: bytes) -> None:
        self._drift.look(kind, frame, self._origin.market)

    def _dead_letter(self, frame: bytes, reason: str, batch: Batch) -> Record:
        self._metrics.dead_letters.inc()
        self._drift.refused(reason, self._origin.market)
        log.warning("frame cannot be read", extra={"reason": reason, "bytes": len(frame)})
        return self._origin.dead_letter(topics.COINBASE_DEAD_LETTERS.name, frame, reason, batch.headers)

    def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        product = self._products.get(heartbeat.product_id)
        if product is not None:
            self._watch.beat(heartbeat.product_id)
            self._pauses.reset()
            product.heartbeat(heartbeat.last_trade_id, heartbeat.time)

    def _on_error(self, error: Error) -> Record:
        """Note which product the exchange refuses; the others go on.

        Raises:
            RefusalError: If none is left.
        """
        words = f"{error.message}: {error.reason}" if error.reason else error.message
        refused = next((name for name in self._products if name in words.replace(",", " ").split()), None)
        log.error("the exchange refuses", extra={"reason": words, "product_id": refused})
        if refused is not None and refused not in self._refused:
            self._refused.add(refused)
            self._metrics.refused_products.inc()
            self._has_to_subscribe.set()
            if self._refused.issuperset(self._products):
                raise RefusalError(
                    f"the exchange accepts none of the products {', '.join(self._products)} (it says: {words}): "
                    "set LAKE_PRODUCTS to products that it lists"
                )
        return self._event("subscription_refused", words, refused)

    def _event(self, kind: Kind, reason: str, product_id: str | None = None) -> Record:
        at = datetime.fromtimestamp(self._clock() / 1e9, UTC)
        return Event(
            kind=kind, venue=self._origin.venue, market=self._origin.market, product_id=product_id, reason=reason
        ).record(at)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[BatchConnection]:
        """Connect and subscribe."""
        self._refused.clear()
        self._has_to_subscribe.set()
        async with connected(
            self._url, self._stop, self._metrics, self._subscribe, is_remote=self._is_remote
        ) as connection:
            yield connection

    async def _subscribe(self, connection: BatchConnection) -> None:
        """Subscribe to all products; again without those that the exchange refuses, as it may then refuse them all."""
        with suppress(ConnectionClosed):  # whoever receives will be told
            while await self._has_to_subscribe.wait():
                self._has_to_subscribe.clear()
                products = [name for name in self._products if name not in self._refused]
                await connection.send(subscribe(products), text=True)

    async def _wait_before_reconnect(self, lost: Exception) -> None:
        """Say what happened, expect nothing more from the lost connection, and wait a while, or until told to stop."""
        reason = f"{type(lost).__name__}: {lost}"
        pause = pause_after(lost, self._pauses, self._clock() / 1e9)
        log.warning("the feed is lost", extra={"reason": reason, "retry_in": round(pause, 3)})
        self._metrics.reconnects.inc()
        for product in self._products.values():
            product.connection_lost()
        await self._delivery.send(self._event("reconnect", reason))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stop.wait()


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
