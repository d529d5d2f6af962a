{# The member of dim_customers that stands for all orders without a customer. #}
{% macro guest_id() -%}'(guest)'{%- endmacro %}
