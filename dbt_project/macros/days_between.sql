{# One row for each `date_day` from `first` up to and without `last`, both date expressions. #}
{% macro days_between(first, last) -%}
    {{ dbt.date_spine('day', first, last) }}
{%- endmacro %}
