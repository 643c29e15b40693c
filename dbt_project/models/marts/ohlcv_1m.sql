with trades as (
    select * from {{ ref('int_trades_enriched') }}
    where {{ within_hour('trade_time') }}
),

followed_hours as (
    select * from {{ source('silver', 'product_hours') }}
    where {{ within_hour('hour_start') }}
),

unrepaired_gaps as (
    select * from {{ source('silver', 'trade_gaps') }}
    where {{ within_hour('hour_start') }} and state != 'repaired'
),

minutes as (
    select
        venue,
        market,
        product_id,
        is_closed,
        explode(sequence(hour_start, {{ hour_end() }} - interval 1 minute, interval 1 minute)) as window_start
    from followed_hours
),

minutes_in_gaps as (
    select distinct
        minutes.venue,
        minutes.market,
        minutes.product_id,
        minutes.window_start
    from minutes
    inner join unrepaired_gaps using (venue, market, product_id)
    where
        unrepaired_gaps.gap_from < minutes.window_start + interval 1 minute
        and unrepaired_gaps.gap_until >= minutes.window_start
),

traded_minutes as (
    select
        venue,
        market,
        product_id,
        window_start,
        min_by(price, {{ tie_order() }}) as open,
        max(price) as high,
        min(price) as low,
        max_by(price, {{ tie_order() }}) as close,
        sum(size) as volume,
        sum(notional) as notional,
        count(*) as trade_count
    from trades
    group by venue, market, product_id, window_start
),

candles as (
    select
        minutes.venue,
        minutes.market,
        minutes.product_id,
        minutes.window_start,
        minutes.window_start + interval 1 minute as window_end,
        traded.open,
        traded.high,
        traded.low,
        traded.close,
        cast(coalesce(traded.volume, 0) as decimal(38, 8)) as volume,
        coalesce(traded.trade_count, 0) as trade_count,
        cast({{ divide_half_up('traded.notional', 'traded.volume', places=8) }} as decimal(18, 8)) as vwap,
        case
            when gaps.window_start is not null or not minutes.is_closed then 'gap'
            when traded.trade_count is null then 'empty'
            else 'complete'
        end as status
    from minutes
    left join traded_minutes as traded using (venue, market, product_id, window_start)
    left join minutes_in_gaps as gaps using (venue, market, product_id, window_start)
)

select * from candles
