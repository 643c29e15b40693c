{#- The hour that a run builds, as literals: Iceberg skips files only by bounds that it can read in the statement. -#}

{% macro hour_key() -%}
    {#-
        The hour to build, as in LAKE_HOUR; empty if none is given. It is read while something is executed and not while
        the project is parsed: another hour is no reason to parse all of it again, as another value of --vars would be.
    -#}
    {{ return(env_var('LAKE_HOUR', '') if execute else '1970-01-01T00') }}
{%- endmacro %}

{% macro hour() -%}
    {#- The start of the hour to build, as a Python datetime; there must be one once anything is executed. -#}
    {%- set key = hour_key() -%}
    {%- if not modules.re.fullmatch('\\d{4}-\\d{2}-\\d{2}T([01]\\d|2[0-3])', key) -%}
        {{ exceptions.raise_compiler_error(
            "LAKE_HOUR must name an hour, as in `LAKE_HOUR=2026-11-20T09 dbt build`, not '" ~ key ~ "'"
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
