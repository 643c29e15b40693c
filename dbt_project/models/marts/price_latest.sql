with trades as (
    select * from {{ ref('int_trades_enriched') }}
    where
        trade_time < {{ hour_end() }}
        {% if not latest_price_is_withdrawn() %}
            and trade_time >= {{ hour_start() }}
        {% endif %}
),

-- A price from the hour that is built is found anew; one from any other hour stands, above all a newer one.
prices_of_other_hours as (
    select
        venue,
        market,
        product_id,
        price,
        updated_at
    from {{ this }}
    where not ({{ within_hour('updated_at') }})
),

prices_of_trades as (
    select
        venue,
        market,
        product_id,
        max_by(price, {{ tie_order() }}) as price,
        max(trade_time) as updated_at
    from trades
    group by venue, market, product_id
),

prices as (
    select * from prices_of_other_hours
    union all
    select * from prices_of_trades
),

newest as (
    select
        venue,
        market,
        product_id,
        max_by(price, updated_at) as price,
        max(updated_at) as updated_at
    from prices
    group by venue, market, product_id
)

select * from newest
