{% test expression_holds(model, expression) %}
{#- `expression` is true in each row; a null is no violation. -#}
select *
from {{ model }}
where not ({{ expression }})
{% endtest %}
