{% test holds(model, expression) %}
{#- `expression` is true of each row; a row of which it is null is passed. -#}
select *
from {{ model }}
where not ({{ expression }})
{% endtest %}
