{#- What include/contracts promise about every row of a table. -#}

{% test never_null(model, columns, window=none) %}
    select * from {{ tested_rows(model, window) }}
    where {{ columns | join(' is null or ') }} is null
{% endtest %}

{% test unique_together(model, columns, window=none) %}
    select {{ columns | join(', ') }}, count(*) as copies
    from {{ tested_rows(model, window) }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}

{% test keeps_rule(model, condition, window=none) %}
    {#- A condition that is null is broken, too. -#}
    select * from {{ tested_rows(model, window) }}
    where not coalesce({{ condition }}, false)
{% endtest %}
