with minutes as (
    select * from {{ ref('ohlcv_1m') }}
    where {{ within_hour('window_start') }}
),

trades as (
    select * from {{ ref('int_trades_enriched') }}
    where {{ within_hour('trade_time') }}
),

candles as (
    {{ roll_up('minutes', 'trades', minutes=60) }}
)

select * from candles
