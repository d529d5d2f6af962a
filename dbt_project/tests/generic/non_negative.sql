{% test non_negative(model, columns) %}
{#- No value of `columns` is below zero. -#}
select {{ columns | join(', ') }}
from {{ model }}
where {% for column in columns %}{{ column }} < 0{{ ' or ' if not loop.last }}{% endfor %}
{% endtest %}
