"""What Bybit sends, as it is on the wire, whatever the order of its keys. Fields that we do not name are not looked at.

The markets differ: a spot trade has no tick direction and a number for its id, a linear one a UUID; a spot
acknowledgement has no `req_id`. What is needed of a message is what both have.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Since 1970-01-01 UTC, up to the year 9999."""
Symbol = Annotated[str, msgspec.Meta(min_length=1)]


class Envelope(msgspec.Struct, frozen=True):
    """What tells the kinds of messages apart: data has a topic, answers have an operation."""

    topic: str | None = None
    op: str | None = None


class TradesFrame(msgspec.Struct, frozen=True):
    """Trades of one symbol in the order of their times; those of one sweep share their `seq`, over frames too."""

    data: list[msgspec.Raw]


class WireTrade(msgspec.Struct, frozen=True):
    """One trade. `S` is the taker's side; `seq` is not unique; `i` is text, and its only identity."""

    T: Milliseconds
    s: Symbol
    i: Annotated[str, msgspec.Meta(min_length=1)]
    seq: int | UnsetType = UNSET
    p: str | UnsetType = UNSET
    v: str | UnsetType = UNSET
    S: str | UnsetType = UNSET


class Reply(msgspec.Struct, frozen=True, rename="camel"):
    """What `GET /v5/market/recent-trade` answers; a code other than 0 is a refusal."""

    ret_code: int
    ret_msg: str = ""
    result: ReplyResult | UnsetType = UNSET


class ReplyResult(msgspec.Struct, frozen=True):
    """The newest trades, the newest first."""

    trades: list[msgspec.Raw] = msgspec.field(name="list", default_factory=list)


class WireRecentTrade(msgspec.Struct, frozen=True, rename="camel"):
    """One trade as REST has it, with other names; numbers are text, its time too."""

    exec_id: Annotated[str, msgspec.Meta(min_length=1)]
    symbol: Symbol
    time: Milliseconds
    price: str | UnsetType = UNSET
    size: str | UnsetType = UNSET
    side: str | UnsetType = UNSET


class TickerFrame(msgspec.Struct, frozen=True):
    """The state of a symbol, or what has changed of it; each value is kept as it was written."""

    type: str
    ts: Milliseconds
    data: dict[str, msgspec.Raw]
    cs: int | UnsetType = UNSET


class Ack(msgspec.Struct, frozen=True):
    """The answer to a subscription."""

    success: bool
    ret_msg: str = ""
    req_id: str = ""


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping: its `op` is again `ping`, or `pong`."""


KNOWN_FIELDS = {
    "publicTrade": frozenset({"T", "s", "S", "v", "p", "L", "i", "BT", "RPI", "seq"}),
    "tickers": frozenset({
        "symbol", "tickDirection", "price24hPcnt", "lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h",
        "prevPrice1h", "markPrice", "indexPrice", "usdIndexPrice", "openInterest", "openInterestValue",
        "turnover24h", "volume24h", "nextFundingTime", "fundingRate", "fundingIntervalHour", "fundingCap",
        "bid1Price", "bid1Size", "ask1Price", "ask1Size", "deliveryTime", "basis", "basisRate", "basisRateYear",
        "deliveryFeeRate", "predictedDeliveryPrice", "preOpenPrice", "preQty", "curPreListingPhase", "ts", "cs",
    }),
}  # fmt: skip
"""By channel, all fields that its data is known to have, in whichever market; of a ticker our stamps, too."""
