{% macro spark__get_create_table_as_sql(temporary, relation, sql) -%}
    {#-
        What dbt's unit tests call to learn the types of a query: they fetch from the statement that makes a view.

        PyHive cannot fetch from a statement without columns, so the view is made here and something is fetched.
    -#}
    {%- call statement('create_temporary_view') -%}
        {{ create_table_as(temporary, relation, sql) }}
    {%- endcall -%}
    select 1
{%- endmacro %}
