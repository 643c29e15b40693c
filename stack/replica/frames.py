"""The exchange's words: every frame of the feed and every object of the REST API, field by field in its order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from stack.replica.candles import Candle
from stack.replica.plan import FeedName
from stack.replica.recordings import OTHER_SIDE, Trade, moment
from stack.replica.subscriptions import Channel
from stack.replica.tape import Day

_encode = msgspec.json.Encoder(decimal_format="number").encode
_REST_SCALE = Decimal("0.00000001")


class _Match(msgspec.Struct, tag_field="type", tag="match"):
    trade_id: int
    maker_order_id: str
    taker_order_id: str
    side: str
    size: str
    price: str
    product_id: str
    sequence: int
    time: str


class _LastMatch(_Match, tag_field="type", tag="last_match"):
    pass


class _Ticker(msgspec.Struct, tag_field="type", tag="ticker"):
    sequence: int
    product_id: str
    price: str
    open_24h: str
    volume_24h: str
    low_24h: str
    high_24h: str
    volume_30d: str
    best_bid: str
    best_bid_size: str
    best_ask: str
    best_ask_size: str
    side: str
    time: str
    trade_id: int
    last_size: str


class _Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat"):
    last_trade_id: int
    product_id: str
    sequence: int
    time: str


class _RestTrade(msgspec.Struct):
    time: str
    trade_id: int
    price: str
    size: str
    side: str


class Product(msgspec.Struct, frozen=True):
    """A product as the exchange lists it."""

    id: str
    quote_increment: str
    base_increment: str

    def listing(self) -> dict[str, Any]:
        """Return its object in `GET /products` and in `status` frames."""
        base, _, quote = self.id.partition("-")
        return {
            "id": self.id,
            "base_currency": base,
            "quote_currency": quote,
            "quote_increment": self.quote_increment,
            "base_increment": self.base_increment,
            "display_name": f"{base}/{quote}",
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": "online",
            "status_message": "",
            "trading_disabled": False,
            "fx_stablecoin": False,
            "max_slippage_percentage": "0.02000000",
            "auction_mode": False,
        }


def product(product_id: str, prices: Iterable[str], sizes: Iterable[str]) -> Product:
    """Describe a product by the finest steps that its trades took."""
    return Product(product_id, _finest_step(prices), _finest_step(sizes))


def _finest_step(numbers: Iterable[str]) -> str:
    digits = max((len(number.partition(".")[2]) for number in numbers), default=8)
    return f"{Decimal(1).scaleb(-digits):f}"


def wire_time(microseconds: int) -> str:
    """Write a moment as the feed does: six fractional digits and Z."""
    return moment(microseconds).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rest_time(microseconds: int) -> str:
    """Write a moment as the REST API does: without trailing zeros of its fraction."""
    return wire_time(microseconds).removesuffix("Z").rstrip("0").rstrip(".") + "Z"


def match(trade: Trade, *, last: bool = False) -> bytes:
    """Make the frame of a trade, or of the last trade before a subscription."""
    return _encode(
        (_LastMatch if last else _Match)(
            trade_id=trade.trade_id,
            maker_order_id=_order_id(trade, "maker"),
            taker_order_id=_order_id(trade, "taker"),
            side=trade.side,
            size=trade.size,
            price=trade.price,
            product_id=trade.product_id,
            sequence=trade.sequence,
            time=wire_time(trade.time),
        )
    )


def with_field(frame: bytes, name: str, value: bytes) -> bytes:
    """Return a frame with one more field, or another value of one that it has.

    Args:
        value: As JSON.
    """
    return _encode(msgspec.json.decode(frame, type=dict[str, msgspec.Raw]) | {name: msgspec.Raw(value)})


def with_other_type(frame: bytes, name: str) -> bytes:
    """Return a frame in which a number stands as text, or a text as a number or, if it is none, as null."""
    value = msgspec.json.decode(frame)[name]
    if not isinstance(value, str):
        return with_field(frame, name, b'"%s"' % str(value).encode())
    return with_field(frame, name, value.encode() if value.replace(".", "", 1).isdecimal() else b"null")


def _order_id(trade: Trade, party: str) -> str:
    """Make up an order id, always the same for the same trade: recordings of facts have none."""
    digest = blake2b(f"{trade.product_id} {trade.trade_id} {party}".encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


class CoinbaseWords:
    """How the feed writes what faults send beside or in place of a trade."""

    feed: FeedName = "coinbase"

    def product(self, trade: Trade) -> str:
        """Name a trade's product."""
        return trade.product_id

    def whole(self, trade: Trade) -> bytes:
        """Write a trade's match."""
        return match(trade)

    def with_new_field(self, trade: Trade, name: str) -> bytes:
        """Write a trade's match with one more field."""
        return with_field(match(trade), name, b'"maker"')

    def with_other_type(self, trade: Trade, name: str) -> bytes:
        """Write a trade's match with a field of another type."""
        return with_other_type(match(trade), name)

    def unheard_of(self, trade: Trade) -> bytes:
        """Write a frame of a type that nobody knows."""
        return _encode({"type": "unheard_of", "product_id": trade.product_id, "time": wire_time(trade.time)})


COINBASE = CoinbaseWords()


def ticker(trade: Trade, day: Day, step: str) -> bytes:
    """Make the ticker of a trade; the best offers are the trade's own price and one step from it.

    Args:
        trade: The trade.
        day: What went before it.
        step: The product's smallest price difference.
    """
    price = Decimal(trade.price)
    taker_buys = trade.side == "sell"
    bid, ask = (price - Decimal(step), price) if taker_buys else (price, price + Decimal(step))
    size = f"{Decimal(trade.size):.8f}"
    return _encode(
        _Ticker(
            sequence=trade.sequence,
            product_id=trade.product_id,
            price=trade.price,
            open_24h=day.open_24h,
            volume_24h=f"{day.volume_24h:.8f}",
            low_24h=day.low_24h,
            high_24h=day.high_24h,
            volume_30d=f"{day.volume_30d:.8f}",
            best_bid=f"{bid:f}",
            best_bid_size=size,
            best_ask=f"{ask:f}",
            best_ask_size=size,
            side=OTHER_SIDE[trade.side],
            time=wire_time(trade.time),
            trade_id=trade.trade_id,
            last_size=trade.size,
        )
    )


def heartbeat(product_id: str, last: Trade | None, time: int) -> bytes:
    """Make a product's heartbeat; before its first trade the id and sequence are 0."""
    return _encode(
        _Heartbeat(
            last_trade_id=last.trade_id if last else 0,
            product_id=product_id,
            sequence=last.sequence if last else 0,
            time=wire_time(time),
        )
    )


def status(products: Iterable[Product]) -> bytes:
    """Make the frame that lists every product and currency."""
    listings = [product.listing() for product in products]
    steps = {listing["base_currency"]: listing["base_increment"] for listing in listings}
    steps |= {listing["quote_currency"]: "0.01" for listing in listings}
    currencies = [
        {
            "id": currency,
            "name": currency,
            "display_name": currency,
            "min_size": step,
            "status": "online",
            "status_message": "",
            "max_precision": step,
            "convertible_to": [],
            "details": {},
            "default_network": "",
            "supported_networks": [],
        }
        for currency, step in sorted(steps.items())
    ]
    return _encode({"type": "status", "products": listings, "currencies": currencies})


def subscriptions(channels: Mapping[Channel, Iterable[str]]) -> bytes:
    """Acknowledge a request with all that its connection is subscribed to, product ids by channel."""
    return _encode(
        {
            "type": "subscriptions",
            "channels": [
                {"name": name, "product_ids": list(products), "account_ids": None}
                for name, products in channels.items()
            ],
        }
    )


def error(message: str, reason: str | None = None) -> bytes:
    """Say what is wrong with a request."""
    return _encode({"type": "error", "message": message} | ({"reason": reason} if reason else {}))


def rest_trades(trades: Iterable[Trade]) -> bytes:
    """Make a page of trades."""
    return _encode(
        [
            _RestTrade(rest_time(trade.time), trade.trade_id, _fixed(trade.price), _fixed(trade.size), trade.side)
            for trade in trades
        ]
    )


def _fixed(number: str) -> str:
    """Write a number with eight decimals as the REST API does, unless it has more."""
    value = Decimal(number)
    exponent = value.as_tuple().exponent
    return number if isinstance(exponent, int) and exponent < -8 else f"{value.quantize(_REST_SCALE):f}"


def rest_candles(rows: Iterable[Candle]) -> bytes:
    """Make a page of candles; numbers keep their digits."""
    return _encode(list(rows))


def rest_products(products: Iterable[Product]) -> bytes:
    """Make the list of products."""
    return _encode([product.listing() for product in products])


def rest_product(product: Product) -> bytes:
    """Make one product's object."""
    return _encode(product.listing())


def rest_message(message: str) -> bytes:
    """Make the body of an error."""
    return _encode({"message": message})
