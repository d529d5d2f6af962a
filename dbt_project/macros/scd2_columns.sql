{#
    The columns of a slowly changing dimension of type 2, from the history of versions: what `key` was from `moment` on.

    A version holds until the next begins, so versions neither overlap nor leave a gap, and a rebuild gives the same
    answer. The first holds from the beginning of time: a fact older than what is known of it finds that version.
#}
{% macro scd2_columns(key, moment) -%}
    {%- set history -%} over (partition by {{ key }} order by {{ moment }}) {%- endset -%}
    row_number() {{ history }} as version_number,
        case when lag({{ moment }}) {{ history }} is null then {{ beginning_of_time() }} else {{ moment }} end as valid_from,
        coalesce(lead({{ moment }}) {{ history }}, {{ end_of_time() }}) as valid_to,
        lead({{ moment }}) {{ history }} is null as is_current
{%- endmacro %}
