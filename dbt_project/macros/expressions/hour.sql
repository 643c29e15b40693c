{#- The hour that a run builds, as literals: Iceberg skips files only by bounds that it can read in the statement. -#}

{% macro hour() -%}
    {#- The start of the hour to build, as a Python datetime; there must be one once anything is executed. -#}
    {%- set key = var('hour', none) -%}
    {%- if key is none and not execute -%}
        {%- set key = '1970-01-01T00' -%}
    {%- endif -%}
    {%- if key is none or not modules.re.fullmatch('\\d{4}-\\d{2}-\\d{2}T([01]\\d|2[0-3])', key) -%}
        {{ exceptions.raise_compiler_error(
            "the variable hour must name an hour like 2026-11-20T09, not " ~ key
            ~ ": pass --vars '{hour: 2026-11-20T09}'"
        ) }}
    {%- endif -%}
    {{ return(modules.datetime.datetime.strptime(key, '%Y-%m-%dT%H')) }}
{%- endmacro %}

{% macro timestamp_literal(moment) -%}
    timestamp '{{ moment.strftime("%Y-%m-%d %H:%M:%S") }}Z'
{%- endmacro %}

{% macro hour_start() -%}
    {{ timestamp_literal(hour()) }}
{%- endmacro %}

{% macro hour_end() -%}
    {{ timestamp_literal(hour() + modules.datetime.timedelta(hours=1)) }}
{%- endmacro %}

{% macro within_hour(column) -%}
    {{ column }} >= {{ hour_start() }} and {{ column }} < {{ hour_end() }}
{%- endmacro %}

{% macro within_day(column) -%}
    {#- Of the UTC day that encloses the hour. -#}
    {%- set midnight = hour().replace(hour=0) -%}
    {{ column }} >= {{ timestamp_literal(midnight) }}
    and {{ column }} < {{ timestamp_literal(midnight + modules.datetime.timedelta(days=1)) }}
{%- endmacro %}

{% macro on_day(column) -%}
    {{ column }} = date '{{ hour().strftime("%Y-%m-%d") }}'
{%- endmacro %}

{% macro within_window(window) -%}
    {#- Of the rows that a run replaces: `window` is {column, unit}, from the model's contract, or none for all. -#}
    {%- if not window -%} true
    {%- elif window.unit == 'hour' -%} {{ within_hour(window.column) }}
    {%- elif window.unit == 'day' -%} {{ on_day(window.column) }}
    {%- else -%} {{ exceptions.raise_compiler_error("a window is an hour or a day, not " ~ window.unit) }}
    {%- endif -%}
{%- endmacro %}
