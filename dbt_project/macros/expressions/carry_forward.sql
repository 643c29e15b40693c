{% macro carry_forward(candles) -%}
    {#-
        Candles without holes for readers: where a window has no trades, its prices are the last close before it.

        dbt show --inline "{{ carry_forward(ref('ohlcv_1m')) }}"

        The tables hold facts only. A price can be carried only from rows of `candles`, so begin it before the first
        window that is shown; windows before the first trade stay null. Status and volume are left as they are.
    -#}
    {%- set last_close -%}
        last_value(close, true) over (
            partition by venue, market, product_id order by window_start
            rows between unbounded preceding and current row
        )
    {%- endset -%}
    select
        venue,
        market,
        product_id,
        window_start,
        window_end,
        coalesce(open, {{ last_close }}) as open,
        coalesce(high, {{ last_close }}) as high,
        coalesce(low, {{ last_close }}) as low,
        {{ last_close }} as close,
        volume,
        trade_count,
        vwap,
        status
    from {{ candles }}
{%- endmacro %}
