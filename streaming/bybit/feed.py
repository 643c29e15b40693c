"""Bybit's WebSocket feed of one market: every trade and every ticker's state to its topic, trades to the books."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from websockets.exceptions import ConnectionClosed

from include.contracts import topics
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
from streaming.connection import Work
from streaming.feed import VenueFeed
from streaming.records import Headers, Record
from streaming.uncounted import UncountedProduct
from streaming.websocket import BatchConnection

log = logging.getLogger(__name__)

PING_SECONDS = 20.0
"""How often the exchange wants to hear from us."""
SILENCE_SECONDS = 30.0
"""A ping, and ten seconds for its answer."""
ACK_SECONDS = 10.0
"""How long a new connection may take to acknowledge all subscriptions."""


class Feed(VenueFeed[UncountedProduct]):
    """The feed of one market; its products are those whose ids are not counted."""

    known_fields = KNOWN_FIELDS
    dead_letters = topics.BYBIT_DEAD_LETTERS
    _watch: SilenceWatch
    _tickers: Tickers
    _unanswered: int

    def _make_watch(self) -> SilenceWatch:
        return SilenceWatch()

    def _begin(self) -> tuple[Work, ...]:
        self._tickers = Tickers()
        self._unanswered = len(self._products)
        return self._subscribe, self._ping

    def _take(self, frames: list[bytes], received_at: int) -> Iterator[Record]:
        for frame in frames:
            yield from self._read(frame, received_at)
        self._watch.heard(is_accepted=not self._unanswered)

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
                self._ignore(message.type)
        return ()

    def _trades(self, frame: Trades, received_at: int) -> list[Record]:
        """Return a record for each trade."""
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
                settle = product.trade(element.trade_id, element.time).settle
                records.append(Record(topics.BYBIT_TRADES.name, element.symbol, element.raw, headers, settle))
        return records

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

    def _promise_nothing(self, reason: str, symbol: str | None) -> None:
        """Break the promise for a symbol, or for all if it is not known whose trades are lost."""
        for name, product in self._products.items():
            if symbol in (name, None):
                product.lost(reason)

    def _on_ack(self, ack: Ack) -> list[Record]:
        """Take note of an answer; of a refusal, which symbol it is about."""
        self._unanswered = max(self._unanswered - 1, 0)
        if not self._unanswered:
            self._pauses.reset()
        if ack.success:
            return []
        words = re.findall(r"\w+", ack.ret_msg)
        name = next((name for name in self._products if name in words or name == ack.req_id), None)
        return [self._refusal(name, ack.ret_msg)]

    def _none_is_left(self, names: str, words: str) -> str:
        market = self._origin.market
        return (
            f"the exchange accepts none of the {market} symbols {names} (it says: {words}): "
            f"set LAKE_BYBIT_{market.upper()} to symbols that it lists"
        )

    def _expect_no_more(self, reason: str) -> None:
        self._promise_nothing(reason, None)

    async def _subscribe(self, connection: BatchConnection) -> None:
        with suppress(ConnectionClosed):  # whoever receives will be told
            for symbol in self._products:
                await connection.send(subscribe(symbol), text=True)

    async def _ping(self, connection: BatchConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await connection.send(PING, text=True)


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
