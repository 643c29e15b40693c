with minutes as (
    select * from {{ ref('ohlcv_1m') }}
    where {{ within_hour('window_start') }}
),

trades as (
    select * from {{ ref('int_trades_enriched') }}
    where {{ within_hour('trade_time') }}
),

rolled_up_minutes as (
    select
        venue,
        market,
        product_id,
        date_trunc('hour', window_start) as window_start,
        min_by(open, window_start) filter (where trade_count > 0) as open,
        max(high) as high,
        min(low) as low,
        max_by(close, window_start) filter (where trade_count > 0) as close,
        sum(volume) as volume,
        sum(trade_count) as trade_count,
        bool_or(status = 'gap') as has_gap
    from minutes
    group by venue, market, product_id, date_trunc('hour', window_start)
),

-- An average of the minutes' rounded averages would not be exact.
averages as (
    select
        venue,
        market,
        product_id,
        sum(notional) as notional,
        sum(size) as volume
    from trades
    group by venue, market, product_id
),

candles as (
    select
        hours.venue,
        hours.market,
        hours.product_id,
        hours.window_start,
        hours.window_start + interval 1 hour as window_end,
        hours.open,
        hours.high,
        hours.low,
        hours.close,
        hours.volume,
        hours.trade_count,
        cast({{ divide_half_up('averages.notional', 'averages.volume', places=8) }} as decimal(18, 8)) as vwap,
        case
            when hours.has_gap then 'gap'
            when hours.trade_count = 0 then 'empty'
            else 'complete'
        end as status
    from rolled_up_minutes as hours
    left join averages using (venue, market, product_id)
)

select * from candles
