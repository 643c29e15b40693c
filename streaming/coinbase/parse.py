"""Bytes in, messages out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streaming.coinbase.messages import TYPES, Envelope, Message, RestTrade
from streaming.repair import HistoricTrade

_message: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_envelope = msgspec.json.Decoder(Envelope)
_page = msgspec.json.Decoder(list[msgspec.Raw])
_rest_trade = msgspec.json.Decoder(RestTrade)


class UnreadableError(ValueError):
    """The bytes are not what the exchange documents; the message says where they differ."""


class UnknownType(NamedTuple):
    """A message of a type that we do not know. The exchange asks its clients to ignore those."""

    type: str


class UnreadableTrade(NamedTuple):
    """One element of a page that is no trade."""

    raw: bytes
    reason: str


class Page(NamedTuple):
    """A page of `GET /products/{id}/trades`."""

    trades: list[HistoricTrade]
    unreadable: list[UnreadableTrade]


def parse_frame(frame: bytes) -> Message | UnknownType:
    """Read one frame of the feed.

    Raises:
        UnreadableError: If it is no JSON object, or a known type without what we need of it.
    """
    try:
        return _message.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        try:
            kind = _envelope.decode(frame).type
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise UnreadableError(str(error)) from error
        if kind in TYPES:
            raise UnreadableError(f"{kind}: {error}") from error
        return UnknownType(kind)


def parse_page(body: bytes) -> Page:
    """Read one page of trades; each keeps its bytes as received.

    Raises:
        UnreadableError: If the body is no JSON array.
    """
    try:
        elements = _page.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(f"page of trades: {error}") from error
    trades, unreadable = [], []
    for raw in map(bytes, elements):
        try:
            trade = _rest_trade.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            unreadable.append(UnreadableTrade(raw, f"trade of a page: {error}"))
        else:
            trades.append(HistoricTrade(trade.trade_id, trade.time, raw))
    return Page(trades, unreadable)


def subscribe(products: Sequence[str]) -> bytes:
    """Return the request that subscribes a connection to all that we follow."""
    by_product = [{"name": name, "product_ids": list(products)} for name in ("matches", "ticker", "heartbeat")]
    return msgspec.json.encode({"type": "subscribe", "channels": [*by_product, {"name": "status"}]})
