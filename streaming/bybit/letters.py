"""Dead letters of Bybit, read again: whole frames, or single trades of one. Pure."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from include.contracts import topics
from include.contracts.topics import Header
from streaming.bybit.parse import (
    Ticker,
    Trade,
    Trades,
    UnknownType,
    UnreadableError,
    UnreadableTrade,
    parse_frame,
    parse_recent_trade,
    parse_trade,
)
from streaming.bybit.tickers import Tickers
from streaming.letters import Letter, Piece, StillUnreadableError, check_followed

_marks = msgspec.json.Decoder(dict[str, msgspec.Raw])
_state = msgspec.json.Decoder(dict[str, object])


def reread(letter: Letter, followed: Collection[str]) -> list[Piece]:
    """Return the records that the producer would make of a letter today; see `streaming.letters.Reread`.

    A frame of many trades is taken whole or not at all: it is one letter.

    Raises:
        StillUnreadableError: If it cannot be read, or nobody follows its symbol, or it is a change of a ticker.
    """
    if letter.place.topic == topics.BYBIT_TICKERS.name:
        return [_state_of(letter, followed)]
    if not _is_frame(letter.value):
        index = letter.header(Header.FRAME_INDEX) or "0"
        if not index.isdecimal():
            raise StillUnreadableError(f"its place in its frame is {index}")
        read = parse_recent_trade if letter.header(Header.SOURCE) == "rest" else parse_trade
        return [_piece(read(letter.value), int(index), followed)]
    try:
        message = parse_frame(letter.value)
    except UnreadableError as error:
        raise StillUnreadableError(str(error)) from error
    match message:
        case Trades():
            return [_piece(element, index, followed) for index, element in enumerate(message.elements)]
        case Ticker():
            check_followed(message.symbol, followed)
            state = Tickers().merge(message)
            if state is None:
                raise StillUnreadableError("it is a change of a ticker, whose state of then is not known")
            return [Piece(topics.BYBIT_TICKERS.name, message.symbol, state, 0)]
        case UnknownType():
            raise StillUnreadableError(f"{message.type} is a type that nobody knows")
    return []


def _is_frame(value: bytes) -> bool:
    """Tell a frame, which has a topic or an operation, from a trade of one."""
    try:
        fields = _marks.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StillUnreadableError(str(error)) from error
    return not fields.keys().isdisjoint({"topic", "op"})


def _piece(element: Trade | UnreadableTrade, index: int, followed: Collection[str]) -> Piece:
    if isinstance(element, UnreadableTrade):
        raise StillUnreadableError(element.reason)
    check_followed(element.symbol, followed)
    return Piece(topics.BYBIT_TRADES.name, element.symbol, element.raw, index, element.time)


def _state_of(letter: Letter, followed: Collection[str]) -> Piece:
    try:
        symbol = _state.decode(letter.value).get("symbol")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StillUnreadableError(str(error)) from error
    if not isinstance(symbol, str):
        raise StillUnreadableError("it is a ticker of no symbol")
    check_followed(symbol, followed)
    return Piece(topics.BYBIT_TICKERS.name, symbol, letter.value, 0)
