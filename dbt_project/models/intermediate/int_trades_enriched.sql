with trades as (select * from {{ ref('stg_trades') }}),

enriched as (
    select
        venue,
        market,
        product_id,
        trade_ref,
        sequence,
        _frame_index,
        price,
        size,
        side,
        trade_time,
        price * size as notional,
        date_trunc('minute', trade_time) as window_start
    from trades
)

select * from enriched
