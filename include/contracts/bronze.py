"""Bronze: append-only, exactly as received. Every offset of a raw topic is one row here, or one dead letter."""

from __future__ import annotations

from datetime import timedelta

from include.contracts import columns as c
from include.contracts.table import Layer, Table, Upkeep

OWNER = "ingestion"
STREAMED = Upkeep(min_files=10)
"""A stream leaves a file every few seconds: a handful of them is what compaction itself has left."""
KAFKA = (c.KAFKA_TOPIC, c.KAFKA_PARTITION, c.KAFKA_OFFSET, c.KAFKA_TIME)
OFFSET = ("_kafka_topic", "_kafka_partition", "_kafka_offset")
ARRIVED = "_ingested_at"
"""When a row came to us: what tables without exchange time are kept by."""

TRADES = Table(
    layer=Layer.BRONZE,
    name="trades",
    description="One row per Kafka record of a trade; a trade that a feed repeats is here twice, an offset never.",
    owner=OWNER,
    columns=(
        c.INGESTED_AT_META,
        c.RAW_PAYLOAD,
        *KAFKA,
        c.SOURCE,
        c.FRAME_INDEX,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.WIRE_TRADE_ID,
        c.SEQUENCE.optional(),
        c.WIRE_PRICE.optional(),
        c.WIRE_SIZE.optional(),
        c.WIRE_SIDE.optional(),
        c.WIRE_TIME.optional(),
    ),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    hour_column="time",
    streamed=True,
    upkeep=STREAMED,
    freshness=timedelta(minutes=5),
    retention=timedelta(days=30),
)

TICKERS = Table(
    layer=Layer.BRONZE,
    name="tickers",
    description="One row per ticker: last price, best bid and ask, volume of 24 hours. Of deltas, what they add up to.",
    owner=OWNER,
    columns=(
        c.INGESTED_AT_META,
        c.RAW_PAYLOAD,
        *KAFKA,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.WIRE_TRADE_ID.optional("The id of the trade that the ticker reports, as text."),
        c.WIRE_PRICE.optional(),
        c.BEST_BID,
        c.BEST_ASK,
        c.VOLUME_24H,
        c.WIRE_TIME.optional(),
    ),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    hour_column="time",
    streamed=True,
    upkeep=STREAMED,
    freshness=timedelta(minutes=5),
    retention=timedelta(days=30),
)

PRICES = Table(
    layer=Layer.BRONZE,
    name="prices",
    description="One row per coin and change of it: its price over all exchanges, market value and volume of 24 hours.",
    owner=OWNER,
    columns=(
        c.INGESTED_AT_META,
        c.RAW_PAYLOAD.described("The coin's object of a reply that holds many, byte for byte as received."),
        *KAFKA,
        c.VENUE.described("Who tells the price, in lower case: `coingecko`."),
        c.MARKET.described("The quote currency, in lower case: `usd`."),
        c.COIN_ID,
        c.WIRE_PRICE.optional("Price, digit for digit as received; null where the venue knows none."),
        c.MARKET_CAP,
        c.QUOTE_VOLUME_24H,
        c.WIRE_TIME.optional("When the venue last updated the coin, as received."),
    ),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    hour_column="time",
    streamed=True,
    upkeep=STREAMED,
    retention=timedelta(days=30),
)

EXCHANGE_STATUS = Table(
    layer=Layer.BRONZE,
    name="exchange_status",
    description="One row per status frame: every product and currency that the exchange lists, in the raw payload.",
    owner=OWNER,
    columns=(c.INGESTED_AT_META, c.RAW_PAYLOAD, *KAFKA, c.VENUE),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    streamed=True,
    upkeep=STREAMED,
    retention=timedelta(days=30),
)

DEAD_LETTERS = Table(
    layer=Layer.BRONZE,
    name="dead_letters",
    description="What could not be read: frames the producer refused, raw records Bronze could not parse.",
    owner=OWNER,
    columns=(c.INGESTED_AT_META, c.RAW_BYTES, *KAFKA, c.VENUE.optional("The exchange, where it is known."), c.REASON),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    streamed=True,
    upkeep=STREAMED,
)

INGESTION_PROGRESS = Table(
    layer=Layer.BRONZE,
    name="ingestion_progress",
    description="How far each product was wholly acknowledged, by the producers: the evidence that an hour is whole.",
    owner=OWNER,
    columns=(
        c.INGESTED_AT_META,
        *KAFKA,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.COVERED_FROM,
        c.CLOSED_THROUGH,
        c.LAST_TRADE_ID,
    ),
    grain=OFFSET,
    partitioned_by=("days(closed_through)",),
    hour_column="closed_through",
    streamed=True,
    upkeep=STREAMED,
)

INGESTION_EVENTS = Table(
    layer=Layer.BRONZE,
    name="ingestion_events",
    description="What happened to the feeds: gaps and breaks and how they ended, reconnects, fields that changed.",
    owner=OWNER,
    columns=(c.INGESTED_AT_META, c.RAW_PAYLOAD, *KAFKA, c.VENUE, c.MARKET, c.PRODUCT_ID.optional(), c.REASON),
    grain=OFFSET,
    partitioned_by=("days(_ingested_at)",),
    streamed=True,
    upkeep=STREAMED,
)

TABLES = (TRADES, TICKERS, PRICES, EXCHANGE_STATUS, DEAD_LETTERS, INGESTION_PROGRESS, INGESTION_EVENTS)
