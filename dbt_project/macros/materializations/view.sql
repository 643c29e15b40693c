{#-
    A view, replaced only when its text has changed: each replacement is a commit and a metadata file for ever,
    and these views are asked for once an hour.
-#}
{% materialization view, adapter='spark' %}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks) }}
    {%- if view_text(target_relation) == sql.strip() -%}
        {% call noop_statement('main', message='UNCHANGED', code='UNCHANGED') %}{{ sql }}{% endcall %}
    {%- else -%}
        {% call statement('main') %}{{ get_create_view_as_sql(target_relation, sql) }}{% endcall %}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro view_text(view) -%}
    {#- The query of a view as it was given, or none if there is no such view. -#}
    {%- set namespace, name = view.schema, view.identifier -%}
    {%- if run_query("show views in " ~ namespace ~ " like '" ~ name ~ "'") | length == 0 -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set statement = run_query("show create table " ~ view)[0][0] -%}
    {{ return(statement.split('\nAS\n', 1)[1].strip()) }}
{%- endmacro %}
