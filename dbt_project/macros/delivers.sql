{#
    True where the shop delivers `dataset`. CARTOGRAPH_DBT_DATASETS lists what it delivers, by comma; unset means all.
    A model of a dataset that is not delivered is disabled, so that it is absent instead of empty.
#}
{% macro delivers(dataset) -%}
    {% set delivered = env_var('CARTOGRAPH_DBT_DATASETS', '') %}
    {{ return(not delivered or dataset in delivered.split(',')) }}
{%- endmacro %}
