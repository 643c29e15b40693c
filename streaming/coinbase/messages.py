"""What Coinbase Exchange sends, as it is on the wire. Fields that we do not name are allowed and not looked at.

Optional fields came to the feed over the years; if they are there, their type is checked too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

TradeId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
ProductId = Annotated[str, msgspec.Meta(min_length=1)]


class Match(msgspec.Struct, tag="match", frozen=True, gc=False):
    """A trade. `side` is the maker's: `buy` is a down-tick."""

    trade_id: TradeId
    product_id: ProductId
    time: Time
    price: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    side: str | UnsetType = UNSET


class LastMatch(Match, tag="last_match", frozen=True, gc=False):
    """The last trade before a subscription: it may repeat one we have, or reveal a gap."""


class Ticker(msgspec.Struct, tag="ticker", frozen=True, gc=False):
    """The last price and the best offers after a trade. `side` is the taker's, unlike a match's."""

    product_id: ProductId
    time: Time
    trade_id: TradeId | UnsetType = UNSET
    price: str | UnsetType = UNSET


class Heartbeat(msgspec.Struct, tag="heartbeat", frozen=True):
    """Once a second per product: the exchange's time and the id of the product's last trade; 0 if there was none."""

    product_id: ProductId
    time: Time
    last_trade_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class Status(msgspec.Struct, tag="status", frozen=True):
    """Every product and currency that the exchange lists; it has neither time nor sequence."""


class ChannelSubscription(msgspec.Struct, frozen=True):
    """A channel that the connection is subscribed to."""

    name: str
    product_ids: list[str] | None = None


class Subscriptions(msgspec.Struct, tag="subscriptions", frozen=True):
    """The answer to `subscribe`: all that the connection is subscribed to by now."""

    channels: list[ChannelSubscription]


class Error(msgspec.Struct, tag="error", frozen=True):
    """The exchange refuses something: `Failed to subscribe`, `XXX-USD is not a valid product`."""

    message: str = ""
    reason: str = ""


Message = Match | LastMatch | Ticker | Heartbeat | Status | Subscriptions | Error

TYPES = frozenset({"match", "last_match", "ticker", "heartbeat", "status", "subscriptions", "error"})


_TRADE = frozenset({"type", "trade_id", "product_id", "time", "price", "side", "sequence"})
KNOWN_FIELDS = {
    "match": _TRADE | {"size", "maker_order_id", "taker_order_id"},
    "ticker": _TRADE | {
        "open_24h", "volume_24h", "low_24h", "high_24h", "volume_30d", "best_bid", "best_bid_size", "best_ask",
        "best_ask_size", "last_size",
    },
    "heartbeat": frozenset({"type", "last_trade_id", "product_id", "sequence", "time"}),
    "status": frozenset({
        "type", "products", "currencies",
        *(f"products[].{name}" for name in (
            "id", "base_currency", "quote_currency", "base_increment", "quote_increment", "display_name", "status",
            "status_message", "min_market_funds", "max_market_funds", "base_min_size", "base_max_size", "type",
            "margin_enabled", "post_only", "limit_only", "cancel_only", "trading_disabled", "fx_stablecoin",
            "auction_mode", "max_slippage_percentage", "funding_account_id",
        )),
        *(f"currencies[].{name}" for name in (
            "id", "name", "display_name", "min_size", "status", "status_message", "max_precision", "convertible_to",
            "details", "details.*", "default_network", "supported_networks", "funding_account_id",
        )),
        *(f"currencies[].supported_networks[].{name}" for name in (
            "id", "name", "status", "contract_address", "crypto_address_link", "crypto_transaction_link",
            "min_withdrawal_amount", "max_withdrawal_amount", "network_confirmations", "processing_time_seconds",
            "destination_tag_regex",
        )),
    }),
}  # fmt: skip
"""By type, all fields that a message is known to have; a match's are a `last_match`'s, too."""


class Envelope(msgspec.Struct, frozen=True):
    """The one field that every message has."""

    type: str


class RestTrade(msgspec.Struct, frozen=True):
    """A trade of `GET /products/{id}/trades`; its product is in the address. `side` is the maker's."""

    trade_id: TradeId
    time: Time
    price: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    side: str | UnsetType = UNSET
