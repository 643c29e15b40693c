{#-
    What include/contracts promise about the rows of a table, in one pass: a row for each promise that is broken.

    One test a table and not one a promise, because each costs a statement and dbt's share of it, every hour.
    A promise that is null for a row is broken, too.
-#}
{% test keeps_contract(model, grain, promises, window=none) %}
    select promise, broken_count
    from (
        select
            stack(
                {{ promises | length + 1 }},
                'grain', count(*) - count(distinct struct({{ grain | join(', ') }})),
                {%- for promise in promises %}
                '{{ promise.id }}', count_if(not coalesce({{ promise.condition }}, false)){{ ',' if not loop.last }}
                {%- endfor %}
            ) as (promise, broken_count)
        from {{ tested_rows(model, window) }}
    )
    where broken_count > 0
{% endtest %}
