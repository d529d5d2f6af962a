{#
    Rank of a row among those of the same `key`, the latest by `latest_by` first: rank 1 wins.

    `key` names the event time too, wherever the dataset has one: it is the same in all versions of a row, and only
    partition columns let DuckDB push a window's filter below the window function, down to the lake's files.
    `_ingested_at` settles what is left.
#}
{% macro version_rank(key, latest_by=[]) -%}
    row_number() over (
        partition by {{ key | join(', ') }}
        order by {% for column in latest_by + ['_ingested_at'] %}{{ column }} desc{{ ', ' if not loop.last }}{% endfor %}
    )
{%- endmacro %}
