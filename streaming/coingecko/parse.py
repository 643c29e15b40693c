"""Bytes in, prices out. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streaming.coingecko.messages import Refusal, WireCoin

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)

_reply = msgspec.json.Decoder(list[msgspec.Raw])
_coin = msgspec.json.Decoder(WireCoin)
_refusal = msgspec.json.Decoder(Refusal)


class UnreadableError(ValueError):
    """The bytes are not what the venue documents; the message says where they differ."""


class Coin(NamedTuple):
    """One coin of a reply, and the reply's bytes of it."""

    id: str
    raw: bytes


class UnreadableCoin(NamedTuple):
    """One element of a reply that is no coin."""

    raw: bytes
    reason: str


def parse_markets(body: bytes) -> list[Coin | UnreadableCoin]:
    """Read a reply of `GET /coins/markets`, each element in its place.

    Raises:
        UnreadableError: If the body is no JSON array.
    """
    try:
        elements = _reply.decode(body)
    except UNREADABLE as error:
        raise UnreadableError(f"reply of prices: {error}") from error
    return [_element(bytes(raw)) for raw in elements]


def _element(raw: bytes) -> Coin | UnreadableCoin:
    try:
        return Coin(_coin.decode(raw).id, raw)
    except UNREADABLE as error:
        return UnreadableCoin(raw, f"coin of a reply: {error}")


def parse_refusal(body: bytes) -> str:
    """Return why a request is refused, in the venue's words."""
    try:
        refusal = _refusal.decode(body)
    except UNREADABLE:
        return repr(body[:200])
    return refusal.error or refusal.status.error_message or repr(body[:200])
