{{ config(meta={'dagster': {'ref': {'name': 'category_affinity'}}}) }}

-- A customer's spend over all categories is that of their lines whose product has a category.
with lines as (
    select
        items.customer_id,
        sum(items.net_amount) as spend_amount,
        sum(items.quantity) as units
    from {{ ref('fct_order_items') }} as items
    inner join {{ ref('dim_products') }} as products on items.product_key = products.product_key
    where
        not items.is_cancelled
        and items.customer_id is not null
        and products.category is not null
    group by items.customer_id
),

affinities as (
    select
        customer_id,
        sum(spend_amount) as spend_amount,
        sum(units) as units
    from {{ ref('category_affinity') }}
    group by customer_id
)

select
    coalesce(lines.customer_id, affinities.customer_id) as customer_id,
    lines.spend_amount,
    affinities.spend_amount as affinities_spend_amount
from lines
full outer join affinities on lines.customer_id = affinities.customer_id
where
    lines.spend_amount is distinct from affinities.spend_amount
    or lines.units is distinct from affinities.units
