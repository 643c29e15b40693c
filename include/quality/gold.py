"""What Gold must satisfy before it is published. Candles are worked out a second time, from Silver."""

from __future__ import annotations

from include.contracts import gold
from include.contracts.table import Rule
from include.quality.judgement import Check

TABLES = gold.TABLES

HOURS_OF_DAY = "gold_ohlcv_1h_of_day"
"""The frame of the one-hour candles of the hour's day."""

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
    Check(
        gold.OHLCV_1H,
        """
        with rolled as (
            select
                venue,
                market,
                product_id,
                date_trunc('hour', window_start) as window_start,
                arg_min(open, window_start) filter (open is not null) as minutes_open,
                max(high) as minutes_high,
                min(low) as minutes_low,
                arg_max(close, window_start) filter (close is not null) as minutes_close,
                sum(volume) as minutes_volume,
                sum(trade_count) as minutes_count
            from gold_ohlcv_1m
            group by all
        )
        select * from rolled full join gold_ohlcv_1h using (venue, market, product_id, window_start)
        """,
        (
            Rule("rolls_up_minutes",
                 "trade_count = minutes_count and volume = minutes_volume and (open, high, low, close)"
                 " is not distinct from (minutes_open, minutes_high, minutes_low, minutes_close)",
                 "a one-hour candle is the roll-up of its minutes"),
        ),
    ),
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
