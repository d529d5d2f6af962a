{% test versions_without_gap(model, key) %}
{#- The versions of each `key` cover all time: no overlap, no gap, none empty, and exactly the last is current. -#}
with versions as (
    select
        {{ key }},
        valid_from,
        valid_to,
        is_current,
        lag(valid_to) over (partition by {{ key }} order by valid_from) as previous_valid_to,
        lead(valid_from) over (partition by {{ key }} order by valid_from) as next_valid_from
    from {{ model }}
)

select *
from versions
where
    valid_from >= valid_to
    or valid_from <> coalesce(previous_valid_to, {{ beginning_of_time() }})
    or (next_valid_from is null and valid_to <> {{ end_of_time() }})
    or is_current <> (next_valid_from is null)
{% endtest %}
