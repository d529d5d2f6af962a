{# The MD5 of a natural key. Only the first of `columns` may hold the separator, so that no two keys meet. #}
{% macro surrogate_key(columns) -%}
    md5({% for column in columns %}cast({{ column }} as varchar){{ " || '|' || " if not loop.last }}{% endfor %})
{%- endmacro %}

{# Microseconds since 1970: a timestamp in a form that no session's time zone or format changes. #}
{% macro epoch_microseconds(column) -%}
    {{ return(adapter.dispatch('epoch_microseconds', 'cartograph')(column)) }}
{%- endmacro %}

{% macro default__epoch_microseconds(column) -%}
    cast(extract(epoch from {{ column }}) * 1000000 as bigint)
{%- endmacro %}

{% macro duckdb__epoch_microseconds(column) -%}
    epoch_us({{ column }})
{%- endmacro %}
