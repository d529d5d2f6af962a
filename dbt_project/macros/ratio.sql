{#
    `numerator` / `denominator` as a double with six decimals, null where the denominator is 0: the same bits in all
    engines, as it takes only operations that IEEE 754 defines. `round` is not one of them (a half goes up in DuckDB, to the even
    digit in PostgreSQL), and a double becomes a decimal by 15 digits in PostgreSQL, by all in DuckDB.
#}
{% macro ratio(numerator, denominator) -%}
    cast(floor(cast({{ numerator }} as double precision) / nullif({{ denominator }}, 0) * 1e6 + 0.5) / 1e6 as double precision)
{%- endmacro %}
