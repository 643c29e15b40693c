"""Every column of the lake, once: its name, type, unit and meaning."""

from __future__ import annotations

from dataclasses import replace

from include.contracts.table import BOOLEAN, DATE, INT, LONG, STRING, TIMESTAMP, Column, decimal

PRICE_TYPE = decimal(18, 8)
SIZE_TYPE = decimal(18, 8)
VOLUME_TYPE = decimal(38, 8)
NOTIONAL_TYPE = decimal(37, 16)

# Whose trade it is
VENUE = Column("venue", STRING, "The exchange, in lower case: `coinbase`, `bybit`.")
MARKET = Column("market", STRING, "The venue's section: `spot`, `linear`.")
PRODUCT_ID = Column("product_id", STRING, "The pair as the venue names it: `BTC-USD`, `BTCUSDT`.")

# Where a row came from
INGESTED_AT_META = Column(
    "_ingested_at", TIMESTAMP, "When our producer took the frame from the exchange's connection, by our clock."
)
RAW_PAYLOAD = Column(
    "_raw_payload", STRING, "The frame, or its part of a frame that holds many trades, byte for byte as received."
)
KAFKA_TOPIC = Column("_kafka_topic", STRING, "The Kafka topic the record was read from.")
KAFKA_PARTITION = Column("_kafka_partition", INT, "The partition of that topic.")
KAFKA_OFFSET = Column("_kafka_offset", LONG, "The record's offset; unique and contiguous within topic and partition.")
KAFKA_TIME = Column("_kafka_time", TIMESTAMP, "The timestamp that Kafka keeps with the record.")
SOURCE = Column("_source", STRING, "`ws` from the live feed, `rest` from the exchange's history.")
FRAME_INDEX = Column("_frame_index", INT, "The trade's place in a frame that holds many, from 0.")

# A trade as received
WIRE_TRADE_ID = Column("trade_id", STRING, "The venue's id of the trade, as text.")
SEQUENCE = Column("sequence", LONG, "The venue's order among trades of one moment: Coinbase's trade id, Bybit's `seq`.")
WIRE_PRICE = Column("price", STRING, "Price as received, not yet checked.")
WIRE_SIZE = Column("size", STRING, "Size as received, not yet checked.")
WIRE_SIDE = Column("side", STRING, "Side as received; whose side it is depends on the venue.")
WIRE_TIME = Column("time", STRING, "Exchange time as received; where the venue counts milliseconds, in ISO 8601.")

# A trade, typed
TRADE_ID = Column("trade_id", LONG, "The venue's id of the trade where its ids are numbers.", required=False)
TRADE_REF = Column("trade_ref", STRING, "The venue's id of the trade as text; with venue, market and product unique.")
PRICE = Column("price", PRICE_TYPE, "Price of one unit of the base currency.", unit="quote currency")
SIZE = Column("size", SIZE_TYPE, "Amount that changed hands.", unit="base currency")
SIDE = Column("side", STRING, "The taker's side: `buy` or `sell`.")
NOTIONAL = Column("notional", NOTIONAL_TYPE, "price * size, exact.", unit="quote currency")
TRADE_TIME = Column("trade_time", TIMESTAMP, "When the exchange matched the trade, by its clock.")
INGESTED_AT = Column("ingested_at", TIMESTAMP, "When our producer received the trade, by our clock.")
IS_LATE_ARRIVAL = Column(
    "_is_late_arrival", BOOLEAN, "Came by the live feed later after trade_time than the setting `late_after`."
)
SOURCE_LATENCY_MS = Column(
    "_source_latency_ms", LONG, "ingested_at minus trade_time; large for history, negative if clocks differ.", unit="ms"
)

# Tickers and status
BEST_BID = Column("best_bid", STRING, "Highest bid as received.", unit="quote currency", required=False)
BEST_ASK = Column("best_ask", STRING, "Lowest ask as received.", unit="quote currency", required=False)
VOLUME_24H = Column("volume_24h", STRING, "Volume of 24 hours as received.", unit="base currency", required=False)

# Prices of coins
COIN_ID = Column("coin_id", STRING, "The coin as the venue names it: `bitcoin`.")
MARKET_CAP = Column(
    "market_cap", STRING, "Price times circulating supply, as received.", unit="quote currency", required=False
)
QUOTE_VOLUME_24H = Column(
    "quote_volume_24h",
    STRING,
    "Volume of 24 hours over all exchanges, as received.",
    unit="quote currency",
    required=False,
)

# Faults and evidence
REASON = Column("reason", STRING, "Why it could not be read, or what happened, in words.")
RULE_ID = Column("rule_id", STRING, "The id of the rule that the row broke first.")
RAW_BYTES = Column("_raw_bytes_base64", STRING, "The original bytes, base64: they may not be text.")

# Progress and gaps
CLOSED_THROUGH = Column(
    "closed_through", TIMESTAMP, "Every trade before this exchange time that can be had is acknowledged in Kafka."
)
COVERED_FROM = Column(
    "covered_from", TIMESTAMP, "The exchange time from which this product has been followed without a break."
)
LAST_TRADE_ID = Column(
    "last_trade_id",
    LONG,
    "Every id up to this one is settled: acknowledged or unavailable; null if none was seen.",
    required=False,
)
FIRST_MISSING_ID = Column("first_missing_id", LONG, "The first trade id of the hole.")
LAST_MISSING_ID = Column("last_missing_id", LONG, "The last trade id of the hole.")
MISSING_COUNT = Column("missing_count", LONG, "How many ids are missing.", unit="trades")
GAP_FROM = Column("gap_from", TIMESTAMP, "Exchange time of the last trade before the hole.")
GAP_UNTIL = Column("gap_until", TIMESTAMP, "Exchange time of the first trade after the hole.")
GAP_STATE = Column("state", STRING, "How it ended: `open`, `repaired` or `unavailable`.")
HOUR_START = Column("hour_start", TIMESTAMP, "The start of the hour, UTC; the hour is closed on the left.")
IS_CLOSED = Column(
    "is_closed", BOOLEAN, "Whether the producers vouch for the hour: followed from before it to its end."
)
TRADE_COUNT_SILVER = Column("trade_count", LONG, "Number of trades.", unit="trades")

# Candles
WINDOW_START = Column("window_start", TIMESTAMP, "First moment of the window, UTC; the window includes it.")
WINDOW_END = Column("window_end", TIMESTAMP, "First moment after the window.")
OPEN = Column(
    "open",
    PRICE_TYPE,
    "Price of the first trade, by (trade_time, sequence, _frame_index, trade_ref).",
    unit="quote currency",
    required=False,
)
HIGH = Column("high", PRICE_TYPE, "Highest price.", unit="quote currency", required=False)
LOW = Column("low", PRICE_TYPE, "Lowest price.", unit="quote currency", required=False)
CLOSE = Column(
    "close", PRICE_TYPE, "Price of the last trade, by the same order as open.", unit="quote currency", required=False
)
VOLUME = Column("volume", VOLUME_TYPE, "Sum of sizes; 0 without trades.", unit="base currency")
TRADE_COUNT = Column("trade_count", LONG, "Number of trades; 0 without.", unit="trades")
VWAP = Column(
    "vwap",
    PRICE_TYPE,
    "sum(price * size) / sum(size), rounded half up to 8 places.",
    unit="quote currency",
    required=False,
)
STATUS = Column(
    "status",
    STRING,
    "`complete`; `empty` without trades; `gap` where ids are missing; `open` where an hour is not published.",
)

# Days
TRADE_DATE = Column("date", DATE, "The day, UTC.")
TOTAL_VOLUME = Column("total_volume", VOLUME_TYPE, "Sum of sizes of the day.", unit="base currency")
TOTAL_TRADES = Column("total_trades", LONG, "Number of trades of the day.", unit="trades")
VOLATILITY = Column(
    "volatility",
    decimal(28, 12),
    "Sample standard deviation of the log returns of 1-minute closes of minutes with trades.",
    required=False,
)
MAX_DRAWDOWN = Column(
    "max_drawdown",
    decimal(28, 12),
    "Largest (peak - later trough) / peak of the 1-minute closes; positive, 0 if they never fell.",
    unit="fraction",
    required=False,
)
UPDATED_AT = Column("updated_at", TIMESTAMP, "Exchange time of the trade that the price is from.")

# Gates
GATE_TABLE = Column("table_name", STRING, "The table that was checked, `layer.name`.")
PARTITION_KEY = Column("partition_key", STRING, "The hour as Airflow names it: `2026-11-20T09`.")
VERDICT = Column(
    "verdict", STRING, "`pass`; or broken, and `ignore`, `warn`, `block`, or `waived` if a person let it through."
)
CHECKED_COUNT = Column("checked_count", LONG, "Rows that the rule looked at.", unit="rows")
FAILED_COUNT = Column("failed_count", LONG, "Rows that broke it.", unit="rows")
SAMPLES = Column("samples", STRING, "Up to five broken rows, as JSON.", required=False)
RUN_ID = Column("run_id", STRING, "The Airflow run.")
TRY_NUMBER = Column("try_number", INT, "The try of the task, from 1.")
BRANCH = Column("branch", STRING, "The Nessie branch that was checked.")
LATE_COUNT = Column("late_count", LONG, "Trades in Bronze that the published hour lacked.", unit="trades")
DECISION = Column("decision", STRING, "`rebuild`, or `too old` for it to happen unasked.")
FOUND_AT = Column("found_at", TIMESTAMP, "When they were found, by our clock.")
CHECKED_AT = Column("checked_at", TIMESTAMP, "When the gate ran, by our clock.")

# Waivers
GRANTED_BY = Column("granted_by", STRING, "The Airflow user who approved it.")
WHY = Column("why", STRING, "Why the hour may be published nevertheless, in the words of who asked.")
GRANTED_AT = Column("granted_at", TIMESTAMP, "When it was approved, by our clock.")
HOLDS_UNTIL = Column(
    "holds_until", TIMESTAMP, "From when on gates no longer heed it, by our clock; null: never.", required=False
)

# Reconciliation with the exchange's own candles
EXCHANGE_OPEN, EXCHANGE_HIGH, EXCHANGE_LOW, EXCHANGE_CLOSE = (
    replace(column, name=f"exchange_{column.name}", description=f"The exchange's own {column.name}; null without one.")
    for column in (OPEN, HIGH, LOW, CLOSE)
)
EXCHANGE_VOLUME = replace(
    VOLUME, name="exchange_volume", description="The exchange's own volume; null without a candle.", required=False
)
AGREEMENT = Column(
    "agreement", STRING, "`equal`; `differs`; `ours missing` or `theirs missing` where only one of us has trades."
)
RECONCILED_AT = Column("reconciled_at", TIMESTAMP, "When they were compared, by our clock.")
