with trades as (select * from {{ source('silver', 'trades') }}),

traded as (
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
        trade_time
    from trades
)

select * from traded
