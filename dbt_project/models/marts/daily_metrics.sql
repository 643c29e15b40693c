with minutes as (
    select * from {{ ref('ohlcv_1m') }}
    where {{ within_hours('window_start', 24) }}
),

days as (
    select
        venue,
        market,
        product_id,
        cast(window_start as date) as date,
        min_by(open, window_start) filter (where trade_count > 0) as open,
        max(high) as high,
        min(low) as low,
        max_by(close, window_start) filter (where trade_count > 0) as close,
        cast(sum(volume) as decimal(38, 8)) as total_volume,
        sum(trade_count) as total_trades
    from minutes
    group by venue, market, product_id, cast(window_start as date)
),

closes as (
    select
        venue,
        market,
        product_id,
        window_start,
        close,
        lag(close) over in_order as previous_close,
        max(close) over in_order as peak
    from minutes
    where trade_count > 0
    window in_order as (partition by venue, market, product_id order by window_start)
),

-- Doubles add up to another last digit in another order, so they are summed by time.
moves as (
    select
        venue,
        market,
        product_id,
        transform(
            array_sort(collect_list(
                struct(window_start, ln(cast(close as double) / cast(previous_close as double)) as log_return)
            ) filter (where previous_close is not null)),
            move -> move.log_return
        ) as log_returns,
        max({{ divide_half_up('(peak - close)', 'peak', places=12) }}) as max_drawdown
    from closes
    group by venue, market, product_id
),

deviations as (
    select
        venue,
        market,
        product_id,
        max_drawdown,
        size(log_returns) as return_count,
        aggregate(log_returns, 0d, (total, log_return) -> total + log_return) / size(log_returns) as mean,
        log_returns
    from moves
),

risks as (
    select
        venue,
        market,
        product_id,
        max_drawdown,
        if(
            return_count >= 2,
            sqrt(
                aggregate(log_returns, 0d, (total, log_return) -> total + power(log_return - mean, 2))
                / (return_count - 1)
            ),
            null
        ) as volatility
    from deviations
),

metrics as (
    select
        days.venue,
        days.market,
        days.product_id,
        days.date,
        days.open,
        days.high,
        days.low,
        days.close,
        days.total_volume,
        days.total_trades,
        cast(risks.volatility as decimal(28, 12)) as volatility,
        cast(risks.max_drawdown as decimal(28, 12)) as max_drawdown
    from days
    left join risks using (venue, market, product_id)
)

select * from metrics
