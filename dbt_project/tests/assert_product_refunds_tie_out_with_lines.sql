{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'agg_product_performance'}}}) }}

-- What is refunded of a product is what was delivered of it, but for cancelled orders; a refund that names no product
-- is of that of its order's line.
with delivered as (
    select
        refunds.amount,
        coalesce(refunds.product_id, lines.product_id) as product_id
    from {{ ref('stg_shop__refunds') }} as refunds
    left join {{ ref('stg_shop__orders') }} as orders on refunds.order_id = orders.order_id
    left join {{ ref('stg_shop__order_items') }} as lines
        on refunds.order_id = lines.order_id
        and refunds.line_number = lines.line_number
    where
        orders.order_id is null
        or orders.status <> 'cancelled'
),

expected as (
    select
        product_id,
        sum(amount) as refunded_amount
    from delivered
    where product_id is not null
    group by product_id
),

found as (
    select
        product_id,
        sum(refunded_amount) as refunded_amount
    from {{ ref('agg_product_performance') }}
    group by product_id
)

select
    coalesce(expected.product_id, found.product_id) as product_id,
    expected.refunded_amount,
    found.refunded_amount as found_refunded_amount
from expected
full outer join found on expected.product_id = found.product_id
where coalesce(expected.refunded_amount, 0) <> coalesce(found.refunded_amount, 0)
