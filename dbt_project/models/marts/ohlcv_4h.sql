with hours as (
    select * from {{ ref('ohlcv_1h') }}
    where {{ within_hours('window_start', 4) }}
),

trades as (
    select * from {{ ref('int_trades_enriched') }}
    where {{ within_hours('trade_time', 4) }}
),

candles as (
    {{ roll_up('hours', 'trades', minutes=240) }}
)

select * from candles
