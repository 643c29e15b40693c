"""What Gold must satisfy before it is published. Candles are worked out a second time, from Silver."""

from __future__ import annotations

from datetime import timedelta

from include.contracts import gold
from include.contracts.table import DAY, HOUR, Rule, Table
from include.quality.judgement import Check, frame_name

TABLES = gold.TABLES

HOURS_OF_DAY = "gold_ohlcv_1h_of_day"
"""The frame of the one-hour candles of the hour's day."""


def rolls_up(table: Table, finer: Table, frame: str, width: timedelta) -> Check:
    """Check candles against finer ones.

    Args:
        table: The candles that are judged.
        finer: What they are rolled up from.
        frame: The finer candles of at least all windows that touch the hour.
        width: How long a window is.
    """
    window = f"time_bucket(interval '{width // timedelta(seconds=1)} seconds', window_start)"
    covered = max(width // HOUR, 1)
    what = finer.name.removeprefix("ohlcv_")
    query = f"""
        with finer as (
            select *, {window} as rolled_start, date_trunc('hour', window_start) as hour_start
            from {frame}
            where {window} in (select {window} from {frame_name(gold.OHLCV_1M)})
        ),
        published as (
            select rolled_start as window_start, count(distinct hour_start) as published_count from finer group by all
        ),
        rolled as (
            select
                venue,
                market,
                product_id,
                rolled_start as window_start,
                arg_min(open, finer.window_start) filter (open is not null) as finer_open,
                max(high) as finer_high,
                min(low) as finer_low,
                arg_max(close, finer.window_start) filter (close is not null) as finer_close,
                sum(volume) as finer_volume,
                sum(trade_count) as finer_count,
                sum(vwap * volume) as finer_value,
                bool_or(status = 'gap') as has_gap,
                count(distinct hour_start) as followed_count
            from finer
            group by all
        )
        select
            *,
            case
                when published_count < {covered} then 'open'
                when has_gap or followed_count < {covered} then 'gap'
                when finer_count = 0 then 'empty'
                else 'complete'
            end as finer_status
        from rolled
        inner join published using (window_start)
        full join {frame_name(table)} using (venue, market, product_id, window_start)
    """
    rules = (
        Rule(f"rolls_up_{what}",
             "trade_count = finer_count and volume = finer_volume and (open, high, low, close)"
             " is not distinct from (finer_open, finer_high, finer_low, finer_close)",
             f"a candle is the roll-up of its candles of {what}"),
        # Each finer average is off by half of its last digit at most, and so is their mean; this one adds as much.
        Rule(f"averages_{what}", "finer_count = 0 or abs(vwap * volume - finer_value) <= 0.00000001 * volume",
             f"a vwap is the mean of those of {what}, to its last digit"),
        Rule(f"status_{what}", "status = finer_status", f"a candle's status follows from its candles of {what}"),
    )  # fmt: skip
    return Check(table, query, rules)


CHECKS = (
    Check(
        gold.OHLCV_1M,
        """
        with minutes as (
            select venue, market, product_id, is_closed, hour_start + to_minutes(minute) as window_start
            from silver_product_hours, range(60) as minutes (minute)
        ),
        traded as (
            select
                venue,
                market,
                product_id,
                date_trunc('minute', trade_time) as window_start,
                arg_min(price, (trade_time, sequence, _frame_index, trade_ref)) as silver_open,
                max(price) as silver_high,
                min(price) as silver_low,
                arg_max(price, (trade_time, sequence, _frame_index, trade_ref)) as silver_close,
                sum(size) as silver_volume,
                count(*) as silver_count
            from silver_trades
            group by all
        ),
        holes as (select * from silver_trade_gaps where state != 'repaired')
        select
            coalesce(minutes.venue, candles.venue) as venue,
            coalesce(minutes.product_id, candles.product_id) as product_id,
            coalesce(minutes.window_start, candles.window_start) as window_start,
            minutes.window_start is not null as is_owed,
            candles.window_start is not null as is_there,
            open, high, low, close, volume, trade_count, status,
            silver_open, silver_high, silver_low, silver_close,
            coalesce(silver_volume, 0) as silver_volume,
            coalesce(silver_count, 0) as silver_count,
            case
                when not minutes.is_closed or exists (
                    from holes
                    where holes.venue = minutes.venue
                    and holes.market = minutes.market
                    and holes.product_id = minutes.product_id
                    and holes.gap_from < minutes.window_start + to_minutes(1)
                    and holes.gap_until >= minutes.window_start
                ) then 'gap'
                when silver_count is null then 'empty'
                else 'complete'
            end as silver_status
        from minutes
        left join traded using (venue, market, product_id, window_start)
        full join gold_ohlcv_1m as candles using (venue, market, product_id, window_start)
        """,
        (
            Rule("every_minute", "is_owed and is_there", "exactly the followed products have a candle a minute"),
            Rule("counts_silver", "trade_count = silver_count and volume = silver_volume",
                 "a candle's volume and count are its trades'"),
            Rule("prices_silver",
                 "(open, high, low, close) is not distinct from (silver_open, silver_high, silver_low, silver_close)",
                 "a candle's prices are its trades'"),
            Rule("status_ledger", "status = silver_status", "a candle's status is what the ledger says of its minute"),
        ),
    ),
    Check(
        gold.OHLCV_1M,
        "select count(*) as product_count from silver_product_hours",
        (Rule("hour_was_built", "product_count > 0",
              "Silver has the hour; if not, clear bronze_to_silver with all that follows it"),),
    ),
    rolls_up(gold.OHLCV_5M, gold.OHLCV_1M, frame_name(gold.OHLCV_1M), timedelta(minutes=5)),
    rolls_up(gold.OHLCV_1H, gold.OHLCV_1M, frame_name(gold.OHLCV_1M), HOUR),
    rolls_up(gold.OHLCV_4H, gold.OHLCV_1H, HOURS_OF_DAY, 4 * HOUR),
    rolls_up(gold.OHLCV_1D, gold.OHLCV_1H, HOURS_OF_DAY, DAY),
    Check(
        gold.DAILY_METRICS,
        f"""
        with hours as (
            select
                venue,
                market,
                product_id,
                cast(window_start as date) as date,
                max(high) as hours_high,
                min(low) as hours_low,
                sum(volume) as hours_volume,
                sum(trade_count) as hours_count
            from {HOURS_OF_DAY}
            group by all
        )
        select * from hours full join gold_daily_metrics using (venue, market, product_id, date)
        """,
        (
            Rule("adds_up_hours",
                 "total_trades = hours_count and total_volume = hours_volume"
                 " and (high, low) is not distinct from (hours_high, hours_low)",
                 "a day is the sum of its published hours"),
        ),
    ),
    Check(
        gold.PRICE_LATEST,
        """
        with newest as (
            select venue, market, product_id, max(trade_time) as newest_trade from silver_trades group by all
        )
        select * from newest left join gold_price_latest using (venue, market, product_id)
        """,
        (Rule("not_behind", "updated_at >= newest_trade", "the newest price is not older than the hour's last trade"),),
    ),
)  # fmt: skip
