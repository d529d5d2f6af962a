{# 1 plus the number of `bounds` that `value` reaches; `falling` for a value of which less is better. #}
{% macro banded_score(value, bounds, falling=false) -%}
    1{% for bound in bounds %} + case when {{ value }} {{ '<=' if falling else '>=' }} {{ bound }} then 1 else 0 end{% endfor %}
{%- endmacro %}
