{{ config(meta={'dagster': {'ref': {'name': 'fct_order_items'}}}) }}

-- Each delivered line of the run's window is in the fact: none was lost in its joins.
select
    lines.order_id,
    lines.line_number
from {{ ref('stg_shop__order_items') }} as lines
left join {{ ref('fct_order_items') }} as facts
    on lines.order_id = facts.order_id
    and lines.line_number = facts.line_number
where
    facts.order_item_key is null
    and {{ in_window('lines.ordered_at') }}
