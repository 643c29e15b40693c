"""The Kafka topics: what they carry, how wide they are, how long they keep it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Header(StrEnum):
    """The headers of our records; values are UTF-8 text."""

    SOURCE = "source"
    """`ws` or `rest`."""
    FRAME_INDEX = "frame_index"
    """The trade's place in its frame, from 0."""
    RECEIVED_AT = "received_at"
    """When the producer took the frame from its connection: microseconds since 1970-01-01 UTC."""
    VENUE = "venue"
    MARKET = "market"
    REASON = "reason"
    """On dead letters: why the frame could not be read."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic.

    Args:
        key: What a record's key is; records of one key keep their order.
        compacted: Whether only the newest record of each key is kept.
        consumer_group: The group to which the Bronze writer commits how far it has come; None if it does not read it.
        is_awaited: Whether hours wait for its records; those of others are committed to Bronze less often.
    """

    name: str
    description: str
    key: str
    partitions: int
    retention: timedelta
    compacted: bool = False
    consumer_group: str | None = None
    is_awaited: bool = True


COINBASE_TRADES = Topic(
    "coinbase.raw.trades", "Trades as received, one a record.", "product_id", 4, timedelta(days=7),
    consumer_group="bronze.trades",
)  # fmt: skip
COINBASE_TICKERS = Topic(
    "coinbase.raw.tickers", "Tickers as received.", "product_id", 4, timedelta(days=7),
    consumer_group="bronze.tickers", is_awaited=False,
)  # fmt: skip
COINBASE_STATUS = Topic(
    "coinbase.raw.status", "The exchange's list of products and currencies.", "venue", 1, timedelta(days=7),
    consumer_group="bronze.exchange_status", is_awaited=False,
)  # fmt: skip
COINBASE_DEAD_LETTERS = Topic(
    "coinbase.dlq", "Frames that could not be read, as received, with the reason.", "venue", 1, timedelta(days=30),
    consumer_group="bronze.dead_letters",
)  # fmt: skip
PROGRESS = Topic(
    "ingestion.progress", "How far each product is wholly acknowledged: JSON, see streaming/progress.py.",
    "venue/market/product_id", 1, timedelta(days=30), compacted=True, consumer_group="bronze.ingestion_progress",
)  # fmt: skip
EVENTS = Topic(
    "ingestion.events", "What happened to the feed: gaps found and how they ended, reconnects. JSON.",
    "venue/market/product_id", 1, timedelta(days=30), consumer_group="bronze.ingestion_events",
)  # fmt: skip

TOPICS = (COINBASE_TRADES, COINBASE_TICKERS, COINBASE_STATUS, COINBASE_DEAD_LETTERS, PROGRESS, EVENTS)
