"""The Kafka topics: what they carry, how wide they are, how long they keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Header(StrEnum):
    """The headers of our records; values are UTF-8 text. A record leaves out what its topic implies."""

    SOURCE = "source"
    """`ws` or `rest`."""
    FRAME_INDEX = "frame_index"
    """The trade's place in its frame, from 0; in a reply of REST, which is newest first, counted from its end."""
    RECEIVED_AT = "received_at"
    """When the producer took the frame from its connection: microseconds since 1970-01-01 UTC."""
    VENUE = "venue"
    MARKET = "market"
    REASON = "reason"
    """On dead letters: why the frame could not be read."""
    PRODUCT_ID = "product_id"
    """On dead letters whose bytes do not say it: the product that was asked for."""
    REPLAY_OF = "replay_of"
    """On raw records that were dead letters: which one it was, `topic/partition/offset`."""


class TimeUnit(StrEnum):
    """How a venue writes a moment."""

    ISO = "iso"
    """`2026-11-20T09:00:00.251063Z`, with as many fractional digits as the venue likes."""
    MILLISECONDS = "milliseconds"
    """Since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic.

    Args:
        key: What a record's key is; records of one key keep their order.
        compacted: Whether only the newest record of each key is kept.
        consumer_group: The group to which the Bronze writer commits how far it has come, and the table that it fills;
            None if it does not read it.
        fields: What the venue calls a column of that table, where its name is another than ours.
        rest_fields: The same for its records that are from REST; None if these call them what the others do.
        time_unit: How the venue writes its time.
        is_awaited: Whether hours wait for its records; those of others are committed to Bronze less often.
        venue: Whose records it carries; empty if those of all.
        has_bare_numbers: Whether the venue writes numbers as JSON numbers, and not as strings.
    """

    name: str
    description: str
    key: str
    partitions: int
    retention: timedelta
    compacted: bool = False
    consumer_group: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict, hash=False)
    rest_fields: Mapping[str, str] | None = field(default=None, hash=False)
    time_unit: TimeUnit = TimeUnit.ISO
    is_awaited: bool = True
    venue: str = ""
    has_bare_numbers: bool = False

    @property
    def implied(self) -> Mapping[Header, str]:
        """What a record of the topic means by leaving a header out."""
        return IMPLIED.get(self.venue, {})


IMPLIED: Mapping[str, Mapping[Header, str]] = {
    "coinbase": {Header.VENUE: "coinbase", Header.MARKET: "spot", Header.SOURCE: "ws", Header.FRAME_INDEX: "0"},
    "bybit": {Header.VENUE: "bybit", Header.SOURCE: "ws", Header.FRAME_INDEX: "0"},
    "coingecko": {Header.VENUE: "coingecko", Header.MARKET: "usd", Header.SOURCE: "rest"},
}
"""What the records of a venue need not say, because nearly all would say the same: a header costs the producer half a
microsecond a record."""

COINBASE_TRADES = Topic(
    "coinbase.raw.trades", "Trades as received, one a record.", "product_id", 4, timedelta(days=7),
    consumer_group="bronze.trades", fields={"sequence": "trade_id"},
    venue="coinbase",
)  # fmt: skip
COINBASE_TICKERS = Topic(
    "coinbase.raw.tickers", "Tickers as received.", "product_id", 4, timedelta(days=7),
    consumer_group="bronze.tickers", is_awaited=False,
    venue="coinbase",
)  # fmt: skip
COINBASE_STATUS = Topic(
    "coinbase.raw.status", "The exchange's list of products and currencies.", "venue", 1, timedelta(days=7),
    consumer_group="bronze.exchange_status", is_awaited=False,
    venue="coinbase",
)  # fmt: skip
COINBASE_DEAD_LETTERS = Topic(
    "coinbase.dlq", "Frames that could not be read, as received, with the reason.", "venue", 1, timedelta(days=30),
    consumer_group="bronze.dead_letters",
    venue="coinbase",
)  # fmt: skip
BYBIT_TRADES = Topic(
    "bybit.raw.trades", "Trades, one a record, each the bytes that its frame has of it.", "product_id", 3,
    timedelta(days=7), consumer_group="bronze.trades",
    fields={
        "product_id": "s", "trade_id": "i", "sequence": "seq", "price": "p", "size": "v", "side": "S", "time": "T",
    },
    rest_fields={"product_id": "symbol", "trade_id": "execId", "sequence": "seq"},
    time_unit=TimeUnit.MILLISECONDS,
    venue="bybit",
)  # fmt: skip
BYBIT_TICKERS = Topic(
    "bybit.raw.tickers", "Tickers as they stand after each frame: the snapshot with all deltas so far.", "product_id",
    3, timedelta(days=7), consumer_group="bronze.tickers",
    fields={
        "product_id": "symbol", "price": "lastPrice", "best_bid": "bid1Price", "best_ask": "ask1Price",
        "volume_24h": "volume24h", "time": "ts",
    },
    time_unit=TimeUnit.MILLISECONDS, is_awaited=False,
    venue="bybit",
)  # fmt: skip
BYBIT_DEAD_LETTERS = Topic(
    "bybit.dlq", "Frames, or trades of one, that could not be read, as received, with the reason.", "venue", 1,
    timedelta(days=30), consumer_group="bronze.dead_letters",
    venue="bybit",
)  # fmt: skip
COINGECKO_PRICES = Topic(
    "coingecko.raw.prices", "Prices of coins, one a record, each the bytes that a reply has of it.", "coin_id", 1,
    timedelta(days=7), consumer_group="bronze.prices",
    fields={"coin_id": "id", "price": "current_price", "quote_volume_24h": "total_volume", "time": "last_updated"},
    is_awaited=False, has_bare_numbers=True, venue="coingecko",
)  # fmt: skip
COINGECKO_DEAD_LETTERS = Topic(
    "coingecko.dlq", "Replies, or coins of one, that could not be read, as received, with the reason.", "venue", 1,
    timedelta(days=30), consumer_group="bronze.dead_letters", venue="coingecko",
)  # fmt: skip
OF_PAST = "/past"
"""Ends the key of progress that tells of history which was fetched from before what the product's producer follows."""

PROGRESS = Topic(
    "ingestion.progress", "How far each product is wholly acknowledged: JSON, see streaming/progress.py.",
    "venue/market/product_id, and that with /past", 1, timedelta(days=30), compacted=True,
    consumer_group="bronze.ingestion_progress",
)  # fmt: skip
EVENTS = Topic(
    "ingestion.events",
    "What happened to the feed: gaps and breaks and how they ended, reconnects, fields that changed. JSON.",
    "venue/market/product_id", 1, timedelta(days=30), consumer_group="bronze.ingestion_events",
)  # fmt: skip
HISTORY = Topic(
    "ingestion.history", "How far the fetching of each product's history has come: JSON, see streaming/history.py.",
    "venue/market/product_id", 1, timedelta(days=30), compacted=True,
)  # fmt: skip
REPLAYS = Topic(
    "ingestion.replays", "How far the replay of each dead letter has come: JSON, see streaming/replays.py.",
    "the letter's topic/partition/offset", 1, timedelta(days=30), compacted=True,
)  # fmt: skip

TOPICS = (
    COINBASE_TRADES,
    COINBASE_TICKERS,
    COINBASE_STATUS,
    COINBASE_DEAD_LETTERS,
    BYBIT_TRADES,
    BYBIT_TICKERS,
    BYBIT_DEAD_LETTERS,
    COINGECKO_PRICES,
    COINGECKO_DEAD_LETTERS,
    PROGRESS,
    EVENTS,
    HISTORY,
    REPLAYS,
)


def topics_of(table: str) -> tuple[Topic, ...]:
    """Return the topics that fill a table, named `layer.name`."""
    return tuple(topic for topic in TOPICS if topic.consumer_group == table)
