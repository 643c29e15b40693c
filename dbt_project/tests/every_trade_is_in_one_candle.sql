-- A trade outside of the product hours that Silver lists would be in no candle, and nothing else would say so.
with trades as (
    select
        venue,
        market,
        product_id,
        count(*) as trade_count,
        sum(size) as volume
    from {{ tested_rows(ref('int_trades_enriched'), {'column': 'trade_time', 'hours': 1}) }}
    group by venue, market, product_id
),

minutes as (
    select
        venue,
        market,
        product_id,
        sum(trade_count) as trade_count,
        sum(volume) as volume
    from {{ tested_rows(ref('ohlcv_1m'), {'column': 'window_start', 'hours': 1}) }}
    group by venue, market, product_id
),

disagreements as (
    select
        venue,
        market,
        product_id,
        trades.trade_count as trades,
        minutes.trade_count as trades_in_candles
    from trades
    full outer join minutes using (venue, market, product_id)
    where
        coalesce(trades.trade_count, 0) != coalesce(minutes.trade_count, 0)
        or coalesce(trades.volume, 0) != coalesce(minutes.volume, 0)
)

select * from disagreements
