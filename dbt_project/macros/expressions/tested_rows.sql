{% macro tested_rows(model, window) -%}
    {#- The rows that a test of a promise looks at: those that the run replaced, or all if the run has no hour. -#}
    (select * from {{ model }} where {{ within_window(window if hour_key() else none) }})
{%- endmacro %}
