"""Bytes in, messages out. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from streaming.bybit.messages import Ack, Envelope, Pong, Reply, TickerFrame, TradesFrame, WireRecentTrade, WireTrade
from streaming.uncounted import RecentTrade

TICK = timedelta(milliseconds=1)
"""The resolution of the exchange's times."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_envelope = msgspec.json.Decoder(Envelope)
_trades_frame = msgspec.json.Decoder(TradesFrame)
_trade = msgspec.json.Decoder(WireTrade)
_ticker_frame = msgspec.json.Decoder(TickerFrame)
_ack = msgspec.json.Decoder(Ack)
_reply = msgspec.json.Decoder(Reply)
_recent_trade = msgspec.json.Decoder(WireRecentTrade, strict=False)  # its time is a number as text


class UnreadableError(ValueError):
    """The bytes are not what the exchange documents; the message says where they differ.

    Args:
        symbol: Whose trades they may have held; None if they may have held anybody's.
        holds_trades: Whether they may have held trades at all.
    """

    def __init__(self, reason: str, *, symbol: str | None = None, holds_trades: bool = True) -> None:
        super().__init__(reason)
        self.symbol = symbol
        self.holds_trades = holds_trades


class UnknownType(NamedTuple):
    """A topic or an operation that we do not know."""

    type: str


class Trade(NamedTuple):
    """One trade of a frame, and the frame's bytes of it."""

    symbol: str
    trade_id: str
    time: datetime
    raw: bytes


class UnreadableTrade(NamedTuple):
    """One element of a frame, or of a reply, that is no trade."""

    raw: bytes
    reason: str


class Trades(NamedTuple):
    """A frame of trades, each in its place."""

    symbol: str
    elements: list[Trade | UnreadableTrade]


class RecentReply(NamedTuple):
    """The answer of REST: trades, the oldest first, and what could not be read of it.

    Args:
        code: 0, or the exchange's number for why it refuses, which it tells in `words`.
    """

    code: int
    words: str
    trades: list[RecentTrade]
    unreadable: list[UnreadableTrade]


class Ticker(NamedTuple):
    """A symbol's state, or a change of it, with the frame's time."""

    symbol: str
    is_snapshot: bool
    fields: dict[str, msgspec.Raw]


Message = Trades | Ticker | Ack | Pong | UnknownType


def parse_frame(frame: bytes) -> Message:
    """Read one frame of a feed.

    Raises:
        UnreadableError: If it is no JSON object, or a known one without what we need of it.
    """
    try:
        envelope = _envelope.decode(frame)
    except UNREADABLE as error:
        raise UnreadableError(str(error)) from error
    if envelope.topic is not None:
        return _data(frame, *envelope.topic.partition(".")[::2])
    try:
        match envelope.op:
            case "subscribe":
                return _ack.decode(frame)
            case "ping" | "pong":
                return Pong()
            case None:
                raise UnreadableError("neither topic nor op")
            case unknown:
                return UnknownType(unknown)
    except UNREADABLE as error:
        raise UnreadableError(f"{envelope.op}: {error}", holds_trades=False) from error


def _data(frame: bytes, channel: str, symbol: str) -> Message:
    match channel:
        case "publicTrade":
            try:
                elements = _trades_frame.decode(frame).data
            except UNREADABLE as error:
                raise UnreadableError(f"{channel}: {error}", symbol=symbol) from error
            return Trades(symbol, [parse_trade(bytes(raw)) for raw in elements])
        case "tickers":
            try:
                ticker = _ticker_frame.decode(frame)
            except UNREADABLE as error:
                raise UnreadableError(f"{channel}: {error}", symbol=symbol, holds_trades=False) from error
            return Ticker(symbol, ticker.type == "snapshot", ticker.data | _stamps(ticker))
        case _:
            return UnknownType(channel)


def parse_trade(raw: bytes) -> Trade | UnreadableTrade:
    """Read one element of a frame of trades."""
    try:
        trade = _trade.decode(raw)
    except UNREADABLE as error:
        return UnreadableTrade(raw, f"trade of a frame: {error}")
    return Trade(trade.s, trade.i, EPOCH + trade.T * TICK, raw)


def parse_reply(body: bytes, symbol: str) -> RecentReply:
    """Read the newest trades of a symbol; each keeps its bytes as received.

    Raises:
        UnreadableError: If the body is no reply, or one about another symbol.
    """
    try:
        reply = _reply.decode(body)
    except UNREADABLE as error:
        raise UnreadableError(f"recent trades: {error}", symbol=symbol) from error
    if reply.ret_code == 0 and isinstance(reply.result, msgspec.UnsetType):
        raise UnreadableError("recent trades: no result", symbol=symbol)
    elements = [] if isinstance(reply.result, msgspec.UnsetType) else reply.result.trades[::-1]
    trades, unreadable = [], []
    for place, raw in enumerate(map(bytes, elements)):
        element = parse_recent_trade(raw)
        if isinstance(element, UnreadableTrade):
            unreadable.append(element)
        elif element.symbol != symbol:
            raise UnreadableError(f"recent trades: asked for {symbol}, got {element.symbol}", symbol=symbol)
        else:
            trades.append(RecentTrade(element.trade_id, element.time, place, raw))
    return RecentReply(reply.ret_code, reply.ret_msg, sorted(trades, key=lambda trade: trade.time), unreadable)


def parse_recent_trade(raw: bytes) -> Trade | UnreadableTrade:
    """Read one element of a reply."""
    try:
        trade = _recent_trade.decode(raw)
    except UNREADABLE as error:
        return UnreadableTrade(raw, f"recent trade: {error}")
    return Trade(trade.symbol, trade.exec_id, EPOCH + trade.time * TICK, raw)


def _stamps(ticker: TickerFrame) -> dict[str, msgspec.Raw]:
    """Return the frame's time and sequence as fields, for the state says neither."""
    stamps = {"ts": ticker.ts} | ({} if ticker.cs is msgspec.UNSET else {"cs": ticker.cs})
    return {name: msgspec.Raw(b"%d" % value) for name, value in stamps.items()}


def subscribe(symbol: str) -> bytes:
    """Return the request for all that we follow of a symbol; one each, so that a refusal hits no other symbol."""
    args = [f"publicTrade.{symbol}", f"tickers.{symbol}"]
    return msgspec.json.encode({"op": "subscribe", "args": args, "req_id": symbol})


PING = msgspec.json.encode({"op": "ping"})
