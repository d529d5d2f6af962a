{{ config(meta={'dagster': {'ref': {'name': 'agg_daily_sales'}}}) }}

-- A day's revenue and orders are those of the orders that were placed on it and not cancelled.
with orders as (
    select
        order_date,
        count(*) as orders_count,
        sum(total_amount) as revenue_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
    group by order_date
)

select
    coalesce(orders.order_date, days.order_date) as order_date,
    orders.revenue_amount,
    days.revenue_amount as days_revenue_amount
from orders
full outer join {{ ref('agg_daily_sales') }} as days on orders.order_date = days.order_date
where
    days.order_date is null
    or coalesce(orders.revenue_amount, 0) <> days.revenue_amount
    or coalesce(orders.orders_count, 0) <> days.orders_count
