{% test sums_to(model, origin, measures, by=[], only='true') %}
{#-
    In each group `by`, the `measures` of the model sum to those of `origin`: no row was lost, or counted twice.

    `only` says which rows of `origin` count. A column that `origin` has by another name is written `its_name as name`.
    What is found are differences: what the model lacks of a group, or below zero, what it has too much.
-#}
with origins as (
    select {{ (by + measures) | join(', ') }}
    from {{ origin }}
    where {{ only }}
),

differences as (
    select {{ names_of(by + measures) | join(', ') }}
    from origins
    union all
    select {{ (names_of(by) + names_of(measures, '-#')) | join(', ') }}
    from {{ model }}
)

select {{ (names_of(by) + names_of(measures, 'sum(#) as missing_#')) | join(', ') }}
from differences
{{ 'group by ' ~ (names_of(by) | join(', ')) if by }}
having {{ names_of(measures, 'sum(#) <> 0') | join(' or ') }}
{% endtest %}
