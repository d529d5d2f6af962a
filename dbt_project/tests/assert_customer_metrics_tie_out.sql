{{ config(meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- A customer's orders, units and amounts are those of the orders that they placed; nobody is left out.
with orders as (
    select
        customer_id,
        count(*) filter (where not is_cancelled) as orders_count,
        count(*) filter (where is_cancelled) as cancelled_orders_count,
        coalesce(sum(item_quantity) filter (where not is_cancelled), 0) as units,
        coalesce(sum(gross_amount) filter (where not is_cancelled), 0) as gross_amount,
        coalesce(sum(discount_amount) filter (where not is_cancelled), 0) as discount_amount,
        coalesce(sum(total_amount) filter (where not is_cancelled), 0) as revenue_amount
    from {{ ref('fct_orders') }}
    where not is_guest
    group by customer_id
)

select
    coalesce(orders.customer_id, metrics.customer_id) as customer_id,
    orders.revenue_amount,
    metrics.revenue_amount as metrics_revenue_amount
from orders
full outer join {{ ref('agg_customer_metrics') }} as metrics on orders.customer_id = metrics.customer_id
where
    metrics.customer_id is null
    or coalesce(orders.orders_count, 0) <> metrics.orders_count
    or coalesce(orders.cancelled_orders_count, 0) <> metrics.cancelled_orders_count
    or coalesce(orders.units, 0) <> metrics.units
    or coalesce(orders.gross_amount, 0) <> metrics.gross_amount
    or coalesce(orders.discount_amount, 0) <> metrics.discount_amount
    or coalesce(orders.revenue_amount, 0) <> metrics.revenue_amount
