"""Bytes in, messages out. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from streaming.bybit.messages import Ack, Envelope, Pong, TickerFrame, TradesFrame, WireTrade

TICK = timedelta(milliseconds=1)
"""The resolution of the exchange's times."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_envelope = msgspec.json.Decoder(Envelope)
_trades_frame = msgspec.json.Decoder(TradesFrame)
_trade = msgspec.json.Decoder(WireTrade)
_ticker_frame = msgspec.json.Decoder(TickerFrame)
_ack = msgspec.json.Decoder(Ack)


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
    time: datetime
    raw: bytes


class UnreadableTrade(NamedTuple):
    """One element of a frame that is no trade."""

    raw: bytes
    reason: str


class Trades(NamedTuple):
    """A frame of trades, each in its place."""

    symbol: str
    elements: list[Trade | UnreadableTrade]


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
    return Trade(trade.s, EPOCH + trade.T * TICK, raw)


def _stamps(ticker: TickerFrame) -> dict[str, msgspec.Raw]:
    """Return the frame's time and sequence as fields, for the state says neither."""
    stamps = {"ts": ticker.ts} | ({} if ticker.cs is msgspec.UNSET else {"cs": ticker.cs})
    return {name: msgspec.Raw(b"%d" % value) for name, value in stamps.items()}


def subscribe(symbol: str) -> bytes:
    """Return the request for all that we follow of a symbol; one each, so that a refusal hits no other symbol."""
    args = [f"publicTrade.{symbol}", f"tickers.{symbol}"]
    return msgspec.json.encode({"op": "subscribe", "args": args, "req_id": symbol})


PING = msgspec.json.encode({"op": "ping"})
