"""Silver: typed, deduplicated, validated. An hour of it is a function of Bronze and is replaced as a whole."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from include.contracts import bronze
from include.contracts import columns as c
from include.contracts.bronze import KAFKA
from include.contracts.table import Action, Compaction, Layer, Rule, Table, Upkeep
from include.contracts.venues import VENUES

OWNER = "market-data"
RARE = Fraction(1, 100)
"""Of an hour's rows, the share that may lack what no venue leaves out unless it changes its messages."""
PRICE_BAND = Decimal("0.2")
"""How far an hour's price may be from the last one before the hour until somebody should look, as a part of it."""
PRODUCT = ("venue", "market", "product_id")
EVIDENCE = (bronze.TRADES.full_name, bronze.INGESTION_PROGRESS.full_name, bronze.INGESTION_EVENTS.full_name)
"""What tells which ids are missing, and whether a product was followed."""
NUMBERED = ", ".join(f"'{venue.name}'" for venue in VENUES if venue.contiguous_ids)

TRADES = Table(
    layer=Layer.SILVER,
    name="trades",
    description="One row per trade. Of copies of a trade the one with the lowest Kafka offset is kept.",
    owner=OWNER,
    columns=(
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.TRADE_ID,
        c.TRADE_REF,
        c.SEQUENCE.optional(),
        c.FRAME_INDEX,
        c.PRICE,
        c.SIZE,
        c.SIDE,
        c.TRADE_TIME,
        c.INGESTED_AT,
        c.IS_LATE_ARRIVAL,
        c.SOURCE_LATENCY_MS,
    ),
    grain=(*PRODUCT, "trade_ref"),
    partitioned_by=("days(trade_time)", "product_id"),
    sorted_by=("product_id", "trade_time"),
    hour_column="trade_time",
    rules=(
        Rule("time_readable", "trade_time IS NOT NULL", "time is an exchange time in UTC", Action.QUARANTINE, RARE),
        Rule("price_is_decimal", "price IS NOT NULL", "price fits decimal(18,8)", Action.QUARANTINE),
        Rule("size_is_decimal", "size IS NOT NULL", "size fits decimal(18,8)", Action.QUARANTINE),
        Rule("price_positive", "price > 0", "price is above zero", Action.QUARANTINE),
        Rule("size_positive", "size > 0", "size is above zero", Action.QUARANTINE),
        Rule("side_known", "side IN ('buy', 'sell')", "side is buy or sell", Action.QUARANTINE, RARE),
        Rule(
            "id_is_number",
            f"trade_id IS NOT NULL OR venue NOT IN ({NUMBERED})",
            "a venue that counts its trades gives each a number",
            Action.QUARANTINE,
            RARE,
        ),
    ),
    freshness=timedelta(hours=2),
    made_from=(bronze.TRADES.full_name,),
    upkeep=Upkeep(Compaction.SORT),
)

TRADES_QUARANTINE = Table(
    layer=Layer.SILVER,
    name="trades_quarantine",
    description="Bronze rows that broke a rule on their way to silver.trades, as received, with the rule's id.",
    owner=OWNER,
    columns=(
        c.HOUR_START.described("The hour that the row was judged in: of its time or, if unreadable, of its arrival."),
        c.RULE_ID,
        c.INGESTED_AT_META,
        c.RAW_PAYLOAD,
        *KAFKA,
        c.SOURCE,
        c.FRAME_INDEX,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.WIRE_TRADE_ID,
        c.WIRE_PRICE.optional(),
        c.WIRE_SIZE.optional(),
        c.WIRE_SIDE.optional(),
        c.WIRE_TIME.optional(),
    ),
    grain=("_kafka_topic", "_kafka_partition", "_kafka_offset"),
    partitioned_by=("days(hour_start)",),
    hour_column="hour_start",
    made_from=(bronze.TRADES.full_name,),
)

TRADE_GAPS = Table(
    layer=Layer.SILVER,
    name="trade_gaps",
    description="Missing trade ids, one row per hole and hour that it touches; only venues whose ids are contiguous.",
    owner=OWNER,
    columns=(
        c.HOUR_START,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.FIRST_MISSING_ID,
        c.LAST_MISSING_ID,
        c.MISSING_COUNT,
        c.GAP_FROM,
        c.GAP_UNTIL,
        c.GAP_STATE,
    ),
    grain=("hour_start", *PRODUCT, "first_missing_id"),
    partitioned_by=("days(hour_start)",),
    hour_column="hour_start",
    rules=(
        Rule("range_ordered", "first_missing_id <= last_missing_id", "a hole has a beginning and an end"),
        Rule("state_known", "state IN ('open', 'repaired', 'unavailable')", "a hole has a known state"),
    ),
    made_from=EVIDENCE,
)

PRODUCT_HOURS = Table(
    layer=Layer.SILVER,
    name="product_hours",
    description="One row per product and hour that was followed, with or without trades: what Gold owes a candle for.",
    owner=OWNER,
    columns=(
        c.HOUR_START,
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.IS_CLOSED,
        c.TRADE_COUNT_SILVER,
        c.MISSING_COUNT,
    ),
    grain=("hour_start", *PRODUCT),
    partitioned_by=("days(hour_start)",),
    hour_column="hour_start",
    rules=(Rule("counts_not_negative", "trade_count >= 0 AND missing_count >= 0", "counts are counts"),),
    made_from=EVIDENCE,
)

TABLES = (TRADES, TRADES_QUARANTINE, TRADE_GAPS, PRODUCT_HOURS)
