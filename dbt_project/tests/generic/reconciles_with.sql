{% test reconciles_with(model, origin, keys, measures=[], version=none, event_time=none) %}
{#-
    Each row of `origin` is in the model, with its `measures`, and nothing else is: nothing was lost, added or changed.

    A column that `origin` has by another name is written `its_name as name`. Of rows that share `keys` in `origin`, the
    model has the one whose `version` is latest. `event_time` bounds both to the run's window. That the model has no row
    twice is what its `unique` test holds.
-#}
{%- set columns = keys + ([version] if version else []) + measures -%}
{%- set window = in_window(event_time) if event_time else 'true' -%}
{%- set is_later = 'origins.' ~ version ~ ' > found.' ~ version if version else 'false' -%}
{%- set is_the_same = 'origins.' ~ version ~ ' = found.' ~ version if version else 'true' -%}
with origins as (
    select
        {{ columns | join(', ') }},
        true as is_there
    from {{ origin }}
    where {{ window }}
),

found as (
    select
        {{ names_of(columns) | join(', ') }},
        true as is_there
    from {{ model }}
    where {{ window }}
)

select
    {{ names_of(keys, 'coalesce(origins.#, found.#) as #') | join(', ') }},
    {{ names_of(measures, 'origins.#, found.# as found_#,') | join(' ') }}
    coalesce(found.is_there, false) as is_found
from origins
full outer join found on {{ names_of(keys, 'origins.# = found.#') | join(' and ') }}
where
    origins.is_there is null
    or found.is_there is null
    or {{ is_later }}
    or ({{ is_the_same }} and ({{ (['false'] + names_of(measures, 'origins.# is distinct from found.#')) | join(' or ') }}))
{% endtest %}
