{% test non_negative(model, column_name) %}
{#- No value is below zero. -#}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < 0
{% endtest %}
