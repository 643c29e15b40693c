{% macro spark__list_relations_without_caching(relation) -%}
    {#-
        What stands in a schema: two statements, where dbt-spark describes every table and finds no view.

        It also names the schema with its catalog, `lake.gold`, as models do; SHOW TABLES leaves the catalog out.
    -#}
    {%- set found = [] -%}
    {%- for kind in ['tables', 'views'] -%}
        {%- set information = 'Provider: iceberg\nType: ' ~ ('VIEW' if kind == 'views' else 'MANAGED') -%}
        {%- for row in run_query('show ' ~ kind ~ ' in ' ~ relation.schema) -%}
            {%- do found.append([relation.schema, row[1], false, information]) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
