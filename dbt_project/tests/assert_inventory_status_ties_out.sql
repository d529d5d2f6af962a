{{ config(enabled=delivers('inventory'), meta={'dagster': {'ref': {'name': 'inventory_status'}}}) }}

-- A product's stock and its value are those of its latest snapshot.
with latest as (
    select
        product_id,
        max(snapshot_date) as snapshot_date
    from {{ ref('fct_inventory_daily') }}
    group by product_id
)

select
    status.product_id,
    status.snapshot_date,
    facts.quantity_on_hand,
    status.quantity_on_hand as status_quantity_on_hand
from {{ ref('inventory_status') }} as status
left join latest on status.product_id = latest.product_id
left join {{ ref('fct_inventory_daily') }} as facts
    on
    latest.product_id = facts.product_id
    and latest.snapshot_date = facts.snapshot_date
where
    status.snapshot_date is distinct from latest.snapshot_date
    or status.quantity_on_hand is distinct from facts.quantity_on_hand
    or status.stock_value_amount is distinct from facts.stock_value_amount
