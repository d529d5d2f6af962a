{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'customer_cohorts'}}}) }}

-- Over all cohorts, net revenue is the revenue of known customers less the refunds of those who ever ordered; orders
-- that were cancelled, and their refunds, are neither.
with revenue as (
    select
        customer_id,
        sum(total_amount) as amount
    from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and not is_guest
    group by customer_id
),

refunds as (
    select
        customer_id,
        sum(amount) as amount
    from {{ ref('fct_refunds') }}
    where
        order_id is null or order_id not in (
            select cancelled.order_id from {{ ref('fct_orders') }} as cancelled
            where cancelled.is_cancelled
        )
    group by customer_id
),

expected as (
    select coalesce(sum(revenue.amount - coalesce(refunds.amount, 0)), 0) as net_revenue_amount
    from revenue
    left join refunds on revenue.customer_id = refunds.customer_id
),

found as (
    select coalesce(sum(net_revenue_amount), 0) as net_revenue_amount
    from {{ ref('customer_cohorts') }}
)

select
    expected.net_revenue_amount,
    found.net_revenue_amount as cohorts_net_revenue_amount
from expected
inner join found on expected.net_revenue_amount <> found.net_revenue_amount
