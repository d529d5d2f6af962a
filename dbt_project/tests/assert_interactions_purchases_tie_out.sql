{{ config(meta={'dagster': {'ref': {'name': 'customer_product_interactions'}}}) }}

-- The units of the last 90 days are those of the known customers' lines that were not cancelled.
with bounds as (
    select max(order_date) - 89 as first_date
    from {{ ref('fct_orders') }}
),

lines as (
    select
        items.customer_id,
        items.product_id,
        sum(items.quantity) as units,
        count(distinct items.order_id) as purchases
    from {{ ref('fct_order_items') }} as items
    inner join bounds on items.order_date >= bounds.first_date
    where
        not items.is_cancelled
        and items.customer_id is not null
    group by items.customer_id, items.product_id
)

select
    coalesce(lines.customer_id, interactions.customer_id) as customer_id,
    coalesce(lines.product_id, interactions.product_id) as product_id,
    lines.units,
    interactions.units_90d
from lines
full outer join {{ ref('customer_product_interactions') }} as interactions
    on lines.customer_id = interactions.customer_id
    and lines.product_id = interactions.product_id
where
    coalesce(lines.units, 0) <> coalesce(interactions.units_90d, 0)
    or coalesce(lines.purchases, 0) <> coalesce(interactions.purchases_90d, 0)
