{% macro window_of(moment, minutes) -%}
    {#- The start of the window that a moment lies in. The epoch was a midnight UTC, so windows that divide a day do. -#}
    timestamp_seconds(unix_seconds({{ moment }}) div {{ minutes * 60 }} * {{ minutes * 60 }})
{%- endmacro %}

{% macro roll_up(candles, trades, minutes) -%}
    {#-
        Candles of so many minutes from finer ones, and from the trades of the same time.

        Open, high, low, close, volume and count follow from the finer candles. A vwap does not: an average of their
        rounded averages would not be exact, so it is made from the trades.

        An hour is published for all products at once. So an hour of which no product has a candle is yet to come, and
        the window is `open`; where others have one and this product does not, it was not followed, and nobody
        vouches for its trades: a `gap`.
    -#}
    {%- set hours = [minutes // 60, 1] | max -%}
    with finer_candles as (
        select
            *,
            {{ window_of('window_start', minutes) }} as rolled_start,
            date_trunc('hour', window_start) as hour_start
        from {{ candles }}
    ),

    rolled_up as (
        select
            venue,
            market,
            product_id,
            rolled_start,
            min_by(open, window_start) filter (where trade_count > 0) as open,
            max(high) as high,
            min(low) as low,
            max_by(close, window_start) filter (where trade_count > 0) as close,
            cast(sum(volume) as decimal(38, 8)) as volume,
            sum(trade_count) as trade_count,
            collect_set(hour_start) as followed_hours,
            bool_or(status = 'gap') as has_gap
        from finer_candles
        group by venue, market, product_id, rolled_start
    ),

    windows as (
        select
            *,
            flatten(collect_list(followed_hours) over (partition by rolled_start)) as published_hours
        from rolled_up
    ),

    averages as (
        select
            venue,
            market,
            product_id,
            {{ window_of('trade_time', minutes) }} as rolled_start,
            sum(notional) as notional,
            sum(size) as volume
        from {{ trades }}
        group by venue, market, product_id, {{ window_of('trade_time', minutes) }}
    )

    select
        venue,
        market,
        product_id,
        rolled_start as window_start,
        rolled_start + interval {{ minutes }} minute as window_end,
        windows.open,
        windows.high,
        windows.low,
        windows.close,
        windows.volume,
        windows.trade_count,
        cast({{ divide_half_up('averages.notional', 'averages.volume', places=8) }} as decimal(18, 8)) as vwap,
        case
            when size(array_distinct(windows.published_hours)) < {{ hours }} then 'open'
            when windows.has_gap or size(windows.followed_hours) < {{ hours }} then 'gap'
            when windows.trade_count = 0 then 'empty'
            else 'complete'
        end as status
    from windows
    left join averages using (venue, market, product_id, rolled_start)
{%- endmacro %}
