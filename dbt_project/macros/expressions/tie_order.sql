{% macro tie_order() -%}
    {#- The order of trades, to be used for open and close: by the exchange, never by arrival. Many share a timestamp. -#}
    struct(trade_time, sequence, _frame_index, trade_ref)
{%- endmacro %}
