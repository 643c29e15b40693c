with hours as (
    select * from {{ ref('ohlcv_1h') }}
    where {{ within_hours('window_start', 24) }}
),

trades as (
    select * from {{ ref('int_trades_enriched') }}
    where {{ within_hours('trade_time', 24) }}
),

candles as (
    {{ roll_up('hours', 'trades', minutes=1440) }}
)

select * from candles
