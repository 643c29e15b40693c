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

{% macro literal(moment, type='timestamp') -%}
    {%- if type == 'date' -%} date '{{ moment.strftime("%Y-%m-%d") }}'
    {%- else -%} timestamp '{{ moment.strftime("%Y-%m-%d %H:%M:%S") }}Z'
    {%- endif -%}
{%- endmacro %}

{% macro hour_start() -%}
    {{ literal(hour()) }}
{%- endmacro %}

{% macro hour_end() -%}
    {{ literal(hour() + modules.datetime.timedelta(hours=1)) }}
{%- endmacro %}

{% macro within_hour(column) -%}
    {{ column }} >= {{ hour_start() }} and {{ column }} < {{ hour_end() }}
{%- endmacro %}

{% macro within_hours(column, hours, type='timestamp') -%}
    {#- Of the window of so many hours that encloses the hour; windows are counted from midnight UTC. -#}
    {%- set start = hour().replace(hour=hour().hour // hours * hours) -%}
    {%- set end = start + modules.datetime.timedelta(hours=hours) -%}
    {{ column }} >= {{ literal(start, type) }} and {{ column }} < {{ literal(end, type) }}
{%- endmacro %}

{% macro within_window(window) -%}
    {#- Of the rows that a run replaces: `window` is {column, type, hours}, from the contract, or none for all. -#}
    {{ within_hours(window.column, window.hours, window.type) if window else 'true' }}
{%- endmacro %}
