{% test never_null(model, columns) %}
{#- Each row has a value in each of `columns`. -#}
select {{ columns | join(', ') }}
from {{ model }}
where {% for column in columns %}{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %}
{% endtest %}
