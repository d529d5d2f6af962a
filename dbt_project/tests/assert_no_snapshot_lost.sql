{{ config(enabled=delivers('inventory'), meta={'dagster': {'ref': {'name': 'fct_inventory_daily'}}}) }}

-- Each staged snapshot of the run's window is in the fact with its stock, and nothing else is.
with staged as (
    select * from {{ ref('stg_shop__inventory') }}
    where {{ in_window('snapshot_date') }}
),

facts as (
    select * from {{ ref('fct_inventory_daily') }}
    where {{ in_window('snapshot_date') }}
)

select
    coalesce(staged.product_id, facts.product_id) as product_id,
    coalesce(staged.snapshot_date, facts.snapshot_date) as snapshot_date
from staged
full outer join facts
    on
    staged.product_id = facts.product_id
    and staged.snapshot_date = facts.snapshot_date
where staged.quantity_on_hand is distinct from facts.quantity_on_hand
