{% macro latest_price_is_withdrawn() -%}
    {#-
        Whether a product's latest price is from the hour that is built, but the hour has no trade of it any more.

        Only then does an older trade become the newest, wherever it may be; it is the one case that reads back.
    -#}
    {%- if not execute -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set withdrawn = run_query(
        'select 1 from ' ~ this ~ ' left anti join ('
        ~ 'select venue, market, product_id from ' ~ ref('int_trades_enriched') ~ ' where ' ~ within_hour('trade_time')
        ~ ') using (venue, market, product_id) where ' ~ within_hour('updated_at') ~ ' limit 1'
    ) -%}
    {{ return(withdrawn | length > 0) }}
{%- endmacro %}
