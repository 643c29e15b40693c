"""Gold: what people read. dbt models build these tables; the contracts say what they promise."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from include.contracts import columns as c
from include.contracts.silver import PRODUCT
from include.contracts.table import DAY, HOUR, Layer, Rule, Table

OWNER = "market-data"
PRICED = "(trade_count = 0) = (open IS NULL)"

OHLCV_1M = Table(
    layer=Layer.GOLD,
    name="ohlcv_1m",
    description="One-minute candles: a row for every minute of every followed product, with or without trades.",
    owner=OWNER,
    columns=(
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.WINDOW_START,
        c.WINDOW_END,
        c.OPEN,
        c.HIGH,
        c.LOW,
        c.CLOSE,
        c.VOLUME,
        c.TRADE_COUNT,
        c.VWAP,
        c.STATUS,
    ),
    grain=(*PRODUCT, "window_start"),
    partitioned_by=("days(window_start)", "product_id"),
    sorted_by=("product_id", "window_start"),
    hour_column="window_start",
    rules=(
        Rule("priced_if_traded", PRICED, "prices are there exactly if there were trades"),
        Rule(
            "high_is_highest", "open IS NULL OR (high >= open AND high >= close AND high >= low)", "high is the highest"
        ),
        Rule("low_is_lowest", "open IS NULL OR (low <= open AND low <= close)", "low is the lowest"),
        Rule("vwap_inside", "open IS NULL OR (vwap >= low AND vwap <= high)", "vwap lies between low and high"),
        Rule("volume_if_traded", "(trade_count = 0) = (volume = 0)", "volume is zero exactly if there were no trades"),
        Rule("status_known", "status IN ('complete', 'empty', 'gap', 'open')", "status is one of the four"),
    ),
    freshness=timedelta(hours=2),
)

OHLCV_5M = replace(
    OHLCV_1M,
    name="ohlcv_5m",
    description="Five-minute candles, rolled up from the one-minute candles.",
)

OHLCV_1H = replace(
    OHLCV_1M,
    name="ohlcv_1h",
    description="One-hour candles, rolled up from the one-minute candles.",
)

OHLCV_4H = replace(
    OHLCV_1M,
    name="ohlcv_4h",
    description="Four-hour candles, rolled up from the one-hour candles of the published hours so far.",
    # Six candles a day and product: by the day, each file would hold six rows.
    partitioned_by=("months(window_start)",),
    window=4 * HOUR,
)

OHLCV_1D = replace(
    OHLCV_4H,
    name="ohlcv_1d",
    description="One-day candles, rolled up from the one-hour candles of the published hours so far.",
    window=DAY,
)

DAILY_METRICS = Table(
    layer=Layer.GOLD,
    name="daily_metrics",
    description="One row per product and UTC day, over its published hours so far.",
    owner=OWNER,
    columns=(
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.TRADE_DATE,
        c.OPEN,
        c.HIGH,
        c.LOW,
        c.CLOSE,
        c.TOTAL_VOLUME,
        c.TOTAL_TRADES,
        c.VOLATILITY,
        c.MAX_DRAWDOWN,
    ),
    grain=(*PRODUCT, "date"),
    partitioned_by=("months(date)",),
    hour_column="date",
    window=DAY,
    rules=(
        Rule("priced_if_traded", "(total_trades = 0) = (open IS NULL)", "prices stand exactly if there were trades"),
        Rule("drawdown_is_fraction", "max_drawdown IS NULL OR (max_drawdown >= 0 AND max_drawdown <= 1)",
             "a drawdown is a fraction of the peak"),
        Rule("volatility_not_negative", "volatility IS NULL OR volatility >= 0", "a deviation is not negative"),
    ),
    freshness=timedelta(hours=2),
)  # fmt: skip

PRICE_LATEST = Table(
    layer=Layer.GOLD,
    name="price_latest",
    description="The newest published price of each product.",
    owner=OWNER,
    columns=(c.VENUE, c.MARKET, c.PRODUCT_ID, c.PRICE, c.UPDATED_AT),
    grain=PRODUCT,
    rules=(Rule("price_positive", "price > 0", "price is above zero"),),
    freshness=timedelta(hours=2),
)

STG_TRADES = Table(
    layer=Layer.GOLD,
    name="stg_trades",
    description="silver.trades as Gold reads it: what a trade was, without how it came to us.",
    owner=OWNER,
    columns=(
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.TRADE_REF,
        c.SEQUENCE.optional(),
        c.FRAME_INDEX,
        c.PRICE,
        c.SIZE,
        c.SIDE,
        c.TRADE_TIME,
    ),
    grain=(*PRODUCT, "trade_ref"),
    hour_column="trade_time",
)

INT_TRADES_ENRICHED = replace(
    STG_TRADES,
    name="int_trades_enriched",
    description="Each trade with what it was worth and the minute that it belongs to.",
    columns=(*STG_TRADES.columns, c.NOTIONAL, c.WINDOW_START.described("The start of the trade's minute, UTC.")),
)

CANDLE_RECONCILIATION = Table(
    layer=Layer.GOLD,
    name="candle_reconciliation",
    description="Our one-minute candles of published hours beside the exchange's own; written on `main`.",
    owner=OWNER,
    columns=(
        c.VENUE,
        c.MARKET,
        c.PRODUCT_ID,
        c.WINDOW_START,
        c.OPEN,
        c.EXCHANGE_OPEN,
        c.HIGH,
        c.EXCHANGE_HIGH,
        c.LOW,
        c.EXCHANGE_LOW,
        c.CLOSE,
        c.EXCHANGE_CLOSE,
        c.VOLUME.optional("Sum of sizes; 0 without trades; null if there is no candle."),
        c.EXCHANGE_VOLUME,
        c.STATUS.optional(),
        c.AGREEMENT,
        c.RECONCILED_AT,
    ),
    grain=(*PRODUCT, "window_start"),
    partitioned_by=("days(window_start)",),
    sorted_by=("product_id", "window_start"),
    hour_column="window_start",
    rules=(
        Rule(
            "agreement_known",
            "agreement IN ('equal', 'differs', 'ours missing', 'theirs missing')",
            "candles agree in one of four ways",
        ),
    ),
    made_from=(OHLCV_1M.full_name,),
)

TABLES = (OHLCV_1M, OHLCV_5M, OHLCV_1H, OHLCV_4H, OHLCV_1D, DAILY_METRICS, PRICE_LATEST)

VIEWS = (STG_TRADES, INT_TRADES_ENRICHED)
"""What dbt keeps as views: they hold no rows of their own, so nobody creates, compacts or gates them."""

AUDITS = (CANDLE_RECONCILIATION,)
"""What looks at hours after they were published: no hour's branch has it, and no gate judges it."""
