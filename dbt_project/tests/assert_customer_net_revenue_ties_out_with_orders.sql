{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- A customer's net revenue is that of their orders, by the refunds as they were delivered: those of an order are its
-- customer's where the refund names no other, those without an order are whose they say.
with delivered as (
    select
        refunds.amount,
        orders.is_cancelled,
        coalesce(refunds.customer_id, orders.customer_id) as customer_id
    from {{ ref('stg_shop__refunds') }} as refunds
    left join {{ ref('int_orders_settled') }} as orders on refunds.order_id = orders.order_id
),

movements as (
    select
        customer_id,
        total_amount as amount
    from {{ ref('int_orders_settled') }}
    where not is_cancelled
    union all
    select
        customer_id,
        -amount as amount
    from delivered
    where is_cancelled is not true
),

expected as (
    select
        customer_id,
        sum(amount) as net_revenue_amount
    from movements
    where customer_id is not null
    group by customer_id
)

select
    coalesce(expected.customer_id, metrics.customer_id) as customer_id,
    expected.net_revenue_amount,
    metrics.net_revenue_amount as found_net_revenue_amount
from expected
full outer join {{ ref('agg_customer_metrics') }} as metrics on expected.customer_id = metrics.customer_id
where
    metrics.customer_id is null
    or coalesce(expected.net_revenue_amount, 0) <> metrics.net_revenue_amount
