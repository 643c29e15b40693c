"""What a client of the feed asks for, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec


class Channel(StrEnum):
    """What can be subscribed to."""

    MATCHES = "matches"
    TICKER = "ticker"
    HEARTBEAT = "heartbeat"
    STATUS = "status"


# Products by channel, each once, in the order of asking.
Wanted = dict[Channel, dict[str, None]]

_NEED_KEYS = frozenset({"level2", "level3", "full"})


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a client.

    Args:
        subscribe: Whether it adds; else it takes away.
        wanted: The channels and products of it that exist. In a request that takes away, a channel without products
            means the whole channel.
        problems: The reasons why the rest is refused.
    """

    subscribe: bool = True
    wanted: Wanted = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class _ChannelMessage(msgspec.Struct):
    name: str
    product_ids: list[str] | None = None


class _Message(msgspec.Struct):
    type: str = ""
    product_ids: list[str] = []
    channels: list[str | _ChannelMessage] = []


def read_request(text: str | bytes, products: Collection[str]) -> Request:
    """Read a client's message; what is good in it holds although other parts are refused."""
    try:
        message = msgspec.json.decode(text, type=_Message)
    except msgspec.DecodeError as error:
        return Request(problems=(f"Malformed JSON: {error}",))
    if message.type not in ("subscribe", "unsubscribe"):
        return Request(problems=("Type has to be either subscribe or unsubscribe",))
    subscribe = message.type == "subscribe"
    wanted: Wanted = {}
    problems: dict[str, None] = {} if message.channels else {"channels is required": None}
    for asked in message.channels:
        channel = asked if isinstance(asked, _ChannelMessage) else _ChannelMessage(asked)
        product_ids = message.product_ids if channel.product_ids is None else channel.product_ids
        if channel.name not in list(Channel):
            problems[_no_channel(channel.name)] = None
            continue
        good = {product_id: None for product_id in product_ids if product_id in products}
        problems |= {f"{bad} is not a valid product": None for bad in product_ids if bad not in good}
        if good or channel.name == Channel.STATUS or not (product_ids or subscribe):
            wanted.setdefault(Channel(channel.name), {}).update(good)
        elif not product_ids:
            problems[f"{channel.name} needs product_ids"] = None
    return Request(subscribe, wanted, tuple(problems))


def _no_channel(name: str) -> str:
    if name in _NEED_KEYS:
        return "level2, level3, and full channels now require authentication."
    return f"{name} is not a valid channel"


def added(subscribed: Wanted, wanted: Mapping[Channel, Mapping[str, None]]) -> Wanted:
    """Return the subscriptions after a request that adds."""
    return subscribed | {channel: {**subscribed.get(channel, {}), **products} for channel, products in wanted.items()}


def taken_away(subscribed: Wanted, unwanted: Mapping[Channel, Mapping[str, None]]) -> Wanted:
    """Return the subscriptions after a request that takes away; a channel without products goes as a whole."""
    left = {
        channel: {product: None for product in products if product not in unwanted.get(channel, ())}
        for channel, products in subscribed.items()
        if channel not in unwanted or unwanted[channel]
    }
    return {channel: products for channel, products in left.items() if products or channel not in unwanted}
