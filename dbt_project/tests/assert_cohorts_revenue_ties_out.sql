{{ config(meta={'dagster': {'ref': {'name': 'customer_cohorts'}}}) }}

-- A month's orders and revenue over all cohorts are those of all known customers.
with orders as (
    select
        cast(date_trunc('month', order_date) as date) as activity_month,
        count(*) as orders_count,
        count(distinct customer_id) as active_customers,
        sum(total_amount) as revenue_amount
    from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and not is_guest
    group by cast(date_trunc('month', order_date) as date)
),

cohorts as (
    select
        activity_month,
        sum(orders_count) as orders_count,
        sum(active_customers) as active_customers,
        sum(revenue_amount) as revenue_amount
    from {{ ref('customer_cohorts') }}
    group by activity_month
)

select
    coalesce(orders.activity_month, cohorts.activity_month) as activity_month,
    orders.revenue_amount,
    cohorts.revenue_amount as cohorts_revenue_amount
from orders
full outer join cohorts on orders.activity_month = cohorts.activity_month
where
    coalesce(orders.orders_count, 0) <> coalesce(cohorts.orders_count, 0)
    or coalesce(orders.active_customers, 0) <> coalesce(cohorts.active_customers, 0)
    or coalesce(orders.revenue_amount, 0) <> coalesce(cohorts.revenue_amount, 0)
