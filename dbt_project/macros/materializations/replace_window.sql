{#-
    A table whose window (an hour, the hours around it, or all of it) is a function of the model's query.

    One MERGE makes the window exactly what the query returns: rows that it no longer returns are deleted. It is one
    commit, so a run that dies leaves the old window or the new one; of two at once, Iceberg refuses the second.
    The window stands as literals in the ON clause, so other hours are not read. The tables are made from
    the contracts, before: a model never creates one.
-#}
{% materialization replace_window, adapter='spark' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- do require_contract(sql) -%}
    {% call statement('main') %}
        {{ replace_window_sql(
            target_relation, sql, model.columns.keys() | list, config.get('unique_key'), config.get('meta').get('window')
        ) }}
    {% endcall %}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro require_contract(query) -%}
    {#-
        Raise dbt's contract error unless the query has the contract's columns, each of its very type.
        dbt's own check runs the query, and calls all decimals one type; to describe it costs a third of that.
    -#}
    {%- set promised, returned = [], [] -%}
    {%- for column in model.columns.values() -%}
        {%- do promised.append({'name': column.name, 'data_type': column.data_type, 'formatted': column.name ~ ' ' ~ column.data_type}) -%}
    {%- endfor -%}
    {%- for row in run_query('describe query ' ~ query) -%}
        {%- do returned.append({'name': row[0], 'data_type': row[1], 'formatted': row[0] ~ ' ' ~ row[1]}) -%}
    {%- endfor -%}
    {%- if promised | map(attribute='formatted') | sort != returned | map(attribute='formatted') | sort -%}
        {%- do exceptions.raise_contract_error(promised, returned) -%}
    {%- endif -%}
{%- endmacro %}

{% macro replace_window_sql(target, query, columns, grain, window) -%}
    merge into {{ target }} as standing
    using (
        select
            {%- for column in columns %}
            {{ column if column in grain else 'fresh.' ~ column }},
            {%- endfor %}
            fresh.is_fresh
        from (select *, true as is_fresh from ({{ query }})) as fresh
        full outer join (select {{ grain | join(', ') }} from {{ target }} where {{ within_window(window) }}) as replaced
            using ({{ grain | join(', ') }})
    ) as given
    on
        {{ within_window(dict(window, column='standing.' ~ window.column) if window else none) }}
        {%- for column in grain %}
        and standing.{{ column }} = given.{{ column }}
        {%- endfor %}
    when matched and given.is_fresh is null then delete
    when matched then update set
        {%- for column in columns if column not in grain %}
        {{ column }} = given.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    when not matched then insert ({{ columns | join(', ') }})
        values ({%- for column in columns -%} given.{{ column }}{{ ', ' if not loop.last }}{%- endfor -%})
{%- endmacro %}
