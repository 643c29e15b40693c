{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    file_format='iceberg',
    unique_key=['venue', 'market', 'product_id', 'trade_ref'],
) }}

with received as (
    select * from lake.bronze.trades
    where time >= '{{ env_var("HOUR") }}' and time < '{{ env_var("HOUR_AFTER") }}'
),

typed as (
    select
        venue,
        market,
        product_id,
        cast(trade_id as bigint) as trade_id,
        trade_id as trade_ref,
        sequence,
        _frame_index,
        cast(price as decimal(18, 8)) as price,
        cast(size as decimal(18, 8)) as size,
        if(side = 'buy', 'sell', 'buy') as side,
        cast(time as timestamp) as trade_time,
        _ingested_at as ingested_at,
        _source = 'ws' and _ingested_at - cast(time as timestamp) > interval 5 minutes as _is_late_arrival,
        (unix_micros(_ingested_at) - unix_micros(cast(time as timestamp))) div 1000 as _source_latency_ms,
        row_number() over (
            partition by venue, market, product_id, trade_id
            order by _kafka_topic, _kafka_partition, _kafka_offset
        ) as copy
    from received
)

select * except (copy) from typed
where copy = 1 and price > 0 and size > 0
