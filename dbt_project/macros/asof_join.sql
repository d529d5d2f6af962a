{#
    Joins the version of `dimension` that held for `key` at `moment`: `from facts {{ asof_join(…) }}`.

    Both forms keep a fact that finds no version, so that a test sees it. `dimension` is a relation or CTE with `key`,
    `valid_from` and `valid_to`; its versions of one key neither overlap nor leave a gap.
#}
{% macro asof_join(facts, dimension, key, moment) -%}
    {{ return(adapter.dispatch('asof_join', 'cartograph')(facts, dimension, key, moment)) }}
{%- endmacro %}

{% macro default__asof_join(facts, dimension, key, moment) -%}
    left join {{ dimension }}
        on {{ facts }}.{{ key }} = {{ dimension }}.{{ key }}
        and {{ facts }}.{{ moment }} >= {{ dimension }}.valid_from
        and {{ facts }}.{{ moment }} < {{ dimension }}.valid_to
{%- endmacro %}

{% macro duckdb__asof_join(facts, dimension, key, moment) -%}
    asof left join {{ dimension }}
        on {{ facts }}.{{ key }} = {{ dimension }}.{{ key }}
        and {{ facts }}.{{ moment }} >= {{ dimension }}.valid_from
{%- endmacro %}
