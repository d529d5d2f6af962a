{# The text at the top-level `key` of a JSON object that is stored as text. #}
{% macro json_text(column, key) -%}
    {{ return(adapter.dispatch('json_text', 'cartograph')(column, key)) }}
{%- endmacro %}

{% macro default__json_text(column, key) -%}
    (cast({{ column }} as json) ->> '{{ key }}')
{%- endmacro %}
