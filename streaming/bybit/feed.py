"""Bybit's WebSocket feed of one market: every trade and every ticker's state to its topic, trades to the books."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime

from websockets.exceptions import ConnectionClosed

from include.contracts import topics
from streaming.backoff import Backoff
from streaming.bybit.messages import KNOWN_FIELDS, Ack, Pong
from streaming.bybit.parse import (
    PING,
    Ticker,
    Trade,
    Trades,
    UnknownType,
    UnreadableError,
    UnreadableTrade,
    parse_frame,
    subscribe,
)
from streaming.bybit.tickers import Tickers
from streaming.connection import LOST, connected, pause_after, wait_for_room
from streaming.delivery import Delivery
from streaming.drift import Drift
from streaming.events import Event, Kind
from streaming.failures import RefusalError
from streaming.metrics import Metrics
from streaming.progress import Stretch, iso
from streaming.records import Headers, Origin, Record
from streaming.uncounted import UncountedProduct, Unprovable
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

PING_SECONDS = 20.0
"""How often the exchange wants to hear from us."""
SILENCE_SECONDS = 30.0
"""A ping, and ten seconds for its answer."""
ACK_SECONDS = 10.0
"""How long a new connection may take to acknowledge all subscriptions."""


class Feed:
    """The feed of one market.

    Args:
        url: Where the market's feed listens.
        is_remote: Whether a proxy of the environment is to be used.
        products: The products to follow, by the exchange's symbols.
        origin: What the records say of where they come from.
        delivery: Where the records go.
        metrics: Where frames are counted.
        stop: When set, the connection is closed, and what it still gives is taken.
        drift: Where it is noted how messages differ from those that we know.
        clock: Nanoseconds since 1970.
    """

    def __init__(
        self,
        url: str,
        products: Mapping[str, UncountedProduct],
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
        self._watch = SilenceWatch()
        self._tickers = Tickers()
        self._unanswered = 0
        self._refused: set[str] = set()
        self._told: set[str] = set()

    async def follow(self) -> None:
        """Follow the feed until told to stop: connect, subscribe, take frames, lose the connection, wait, again.

        Raises:
            RefusalError: If the exchange accepts none of the symbols.
        """
        while not self._stop.is_set():
            try:
                async with self._connected() as connection, self._watch.over():
                    while True:
                        frames, received_at = await connection.receive(), self._clock() // 1_000
                        self._drift.now_is(received_at)
                        for record in (record for frame in frames for record in self._read(frame, received_at)):
                            if not self._delivery.offer(record):
                                await wait_for_room(record, self._delivery, self._watch)
                        self._watch.heard(is_accepted=not self._unanswered)
            except LOST as lost:
                if not self._stop.is_set():
                    await self._wait_before_reconnect(lost)

    def _read(self, frame: bytes, received_at: int) -> Iterable[Record]:
        """Enter one frame in the books; return the records that it becomes.

        Args:
            frame: As received.
            received_at: Microseconds since 1970.
        """
        frames = self._metrics.frames
        try:
            message = parse_frame(frame)
        except UnreadableError as error:
            frames["unreadable"] += 1
            if error.holds_trades:
                self._promise_nothing(f"a frame could not be read: {error}", error.symbol)
            return [self._dead_letter(frame, str(error), self._headers(received_at))]
        match message:
            case Trades():
                frames["trades"] += 1
                return self._trades(message, received_at)
            case Ticker():
                frames["ticker"] += 1
                return self._ticker(message, frame, received_at)
            case Ack():
                frames["ack"] += 1
                return self._on_ack(message)
            case Pong():
                frames["pong"] += 1
            case UnknownType():
                frames["unknown"] += 1
                self._tell_once(message.type, "messages of an unknown type are ignored")
        return ()

    def _trades(self, frame: Trades, received_at: int) -> list[Record]:
        """Return a record for each trade; before the first after a break, the event that tells of it."""
        records, longest = [], self._drift.longest
        for index, element in enumerate(frame.elements):
            if len(element.raw) > longest["publicTrade"] and isinstance(element, Trade):
                self._drift.look("publicTrade", element.raw, self._origin.market)
            headers = self._headers(received_at, index)
            if isinstance(element, UnreadableTrade):
                self._promise_nothing(element.reason, frame.symbol)
                records.append(self._dead_letter(element.raw, element.reason, headers))
            elif (product := self._products.get(element.symbol)) is None:
                reason = f"{element.symbol} was not subscribed to"
                records.append(self._dead_letter(element.raw, reason, headers))
            else:
                records += self._trade(product, element, headers)
        return records

    def _trade(self, product: UncountedProduct, trade: Trade, headers: Headers) -> Iterator[Record]:
        if broken := product.resume(trade.time):
            yield self._unprovable(trade.symbol, *broken)
        settle = product.trade(trade.time).settle
        yield Record(topics.BYBIT_TRADES.name, trade.symbol, trade.raw, headers, settle)

    def _ticker(self, ticker: Ticker, frame: bytes, received_at: int) -> list[Record]:
        if len(frame) > self._drift.longest["tickers"]:
            self._drift.look("tickers", frame, self._origin.market, ticker.fields)
        if ticker.symbol not in self._products:
            reason = f"{ticker.symbol} was not subscribed to"
            return [self._dead_letter(frame, reason, self._headers(received_at))]
        state = self._tickers.merge(ticker)
        if state is None:
            self._metrics.frames["ticker before its snapshot"] += 1
            return []
        return [Record(topics.BYBIT_TICKERS.name, ticker.symbol, state, self._headers(received_at))]

    def _headers(self, received_at: int, frame_index: int = 0) -> Headers:
        return self._origin.headers("ws", received_at, b"%d" % frame_index)

    def _dead_letter(self, raw: bytes, reason: str, headers: Headers) -> Record:
        self._metrics.dead_letters.inc()
        self._drift.refused(reason, self._origin.market)
        log.warning("frame cannot be read", extra={"reason": reason, "bytes": len(raw)})
        return self._origin.dead_letter(topics.BYBIT_DEAD_LETTERS.name, raw, reason, headers)

    def _promise_nothing(self, reason: str, symbol: str | None) -> None:
        """Break the promise for a symbol, or for all if it is not known whose trades are lost."""
        for name, product in self._products.items():
            if symbol in (name, None):
                product.lost(reason)

    def _on_ack(self, ack: Ack) -> list[Record]:
        """Take note of an answer; of a refusal, note which symbol it is about; the others go on.

        Raises:
            RefusalError: If none is left.
        """
        self._unanswered = max(self._unanswered - 1, 0)
        if not self._unanswered:
            self._pauses.reset()
        if ack.success:
            return []
        words = re.findall(r"\w+", ack.ret_msg)
        refused = next((name for name in self._products if name in words or name == ack.req_id), None)
        log.error("the exchange refuses", extra={"reason": ack.ret_msg, "symbol": refused})
        if refused is not None and refused not in self._refused:
            self._refused.add(refused)
            self._metrics.refused_products.inc()
            if self._refused.issuperset(self._products):
                market = self._origin.market
                raise RefusalError(
                    f"the exchange accepts none of the {market} symbols {', '.join(self._products)} (it says: "
                    f"{ack.ret_msg}): set LAKE_BYBIT_{market.upper()} to symbols that it lists"
                )
        return [self._event("subscription_refused", ack.ret_msg, refused)]

    def _unprovable(self, symbol: str, unprovable: Unprovable, stretch: Stretch) -> Record:
        """Tell which time cannot be proved; no progress passes it before this is acknowledged."""
        log.warning("trades may be missing", extra={"symbol": symbol, **unprovable._asdict()})
        record = self._event("unprovable", unprovable.reason, symbol, unprovable)
        record.acknowledged = stretch.settle
        return record

    def _event(
        self, kind: Kind, reason: str, symbol: str | None = None, unprovable: Unprovable | None = None
    ) -> Record:
        return Event(
            kind=kind,
            venue=self._origin.venue,
            market=self._origin.market,
            product_id=symbol,
            reason=reason,
            unprovable_from=iso(unprovable.since) if unprovable else None,
            unprovable_until=iso(unprovable.until) if unprovable else None,
        ).record(datetime.fromtimestamp(self._clock() / 1e9, UTC))

    def _tell_once(self, kind: str, what: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            log.warning(what, extra={"type": kind})

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[BatchConnection]:
        """Connect, subscribe, and show now and then that we are there."""
        self._tickers.clear()
        self._refused.clear()
        self._unanswered = len(self._products)
        work = (self._subscribe, self._ping)
        async with connected(self._url, self._stop, self._metrics, *work, is_remote=self._is_remote) as connection:
            yield connection

    async def _subscribe(self, connection: BatchConnection) -> None:
        with suppress(ConnectionClosed):  # whoever receives will be told
            for symbol in self._products:
                await connection.send(subscribe(symbol), text=True)

    async def _ping(self, connection: BatchConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await connection.send(PING, text=True)

    async def _wait_before_reconnect(self, lost: Exception) -> None:
        """Say what happened, promise nothing of the time until trades come again, and wait, or until told to stop."""
        reason = f"{type(lost).__name__}: {lost}"
        pause = pause_after(lost, self._pauses, self._clock() / 1e9)
        log.warning("the feed is lost", extra={"reason": reason, "retry_in": round(pause, 3)})
        self._metrics.reconnects.inc()
        self._promise_nothing(reason, None)
        await self._delivery.send(self._event("reconnect", reason))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stop.wait()


class SilenceWatch:
    """Notices a connection on which nothing comes any more, or on which our subscriptions stay unanswered."""

    def __init__(self) -> None:
        self._alarm = asyncio.timeout(None)
        self._is_accepted = False

    @asynccontextmanager
    async def over(self) -> AsyncIterator[None]:
        """Watch one connection.

        Raises:
            TimeoutError: If it gives nothing, not even the answer to a ping, or does not answer our subscriptions.
        """
        self._is_accepted = False
        try:
            async with asyncio.timeout(ACK_SECONDS) as self._alarm:
                yield
        except TimeoutError:
            missing = "nothing came, not even a pong" if self._is_accepted else "a subscription is not answered"
            raise TimeoutError(missing) from None

    def heard(self, *, is_accepted: bool) -> None:
        """Take note of a frame.

        Args:
            is_accepted: Whether all subscriptions are answered; until then only an answer counts.
        """
        if is_accepted:
            self._is_accepted = True
            self._alarm.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Do not count the time in which we ourselves do not read."""
        self._alarm.reschedule(None)
        yield
        self._alarm.reschedule(asyncio.get_running_loop().time() + SILENCE_SECONDS)
