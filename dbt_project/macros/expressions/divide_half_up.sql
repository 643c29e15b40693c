{% macro divide_half_up(numerator, denominator, places) -%}
    {#-
        numerator / denominator, exact, rounded half up once to `places` digits behind the point.

        How many digits Spark's own division keeps follows from the precision of its operands; one that keeps more than
        `places` is rounded twice. Here the quotient is counted in units of its last digit, which whole division gives
        exactly, and the remainder decides how it is rounded.

        Both must be decimals and not negative, the denominator of at most 37 - `places` digits, and the result below
        2**63 units: a vwap is below 10**18. Null if either is null or the denominator is zero.
    -#}
    {%- set last_digit = '0.' ~ '0' * (places - 1) ~ '1BD' -%}
    {%- set unit = '(' ~ denominator ~ ' * ' ~ last_digit ~ ')' -%}
    {%- set rest = '(' ~ numerator ~ ' % ' ~ unit ~ ')' -%}
    ({{ numerator }} div {{ unit }} + if({{ rest }} >= {{ unit }} - {{ rest }}, 1, 0)) * {{ last_digit }}
{%- endmacro %}
