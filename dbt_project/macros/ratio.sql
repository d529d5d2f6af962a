{# `numerator` / `denominator` as a double with six decimals, null where the denominator is 0: the same in all engines. #}
{% macro ratio(numerator, denominator) -%}
    cast(round(cast(cast({{ numerator }} as double precision) / nullif({{ denominator }}, 0) as decimal(38, 12)), 6) as double precision)
{%- endmacro %}
