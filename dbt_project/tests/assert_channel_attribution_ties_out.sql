{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'channel_attribution'}}}) }}

-- By each method, a month's channels share out its orders and their revenue exactly.
with orders as (
    select
        cast(date_trunc('month', order_date) as date) as month_start_date,
        count(*) as orders_count,
        sum(total_amount) as revenue_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
    group by cast(date_trunc('month', order_date) as date)
),

channels as (
    select
        month_start_date,
        method,
        sum(orders_credited) as orders_credited,
        sum(revenue_amount) as revenue_amount
    from {{ ref('channel_attribution') }}
    group by month_start_date, method
),

methods as (
    select distinct method
    from channels
),

expected as (
    select
        orders.month_start_date,
        methods.method,
        orders.orders_count,
        orders.revenue_amount
    from orders
    cross join methods
)

select
    coalesce(expected.month_start_date, channels.month_start_date) as month_start_date,
    coalesce(expected.method, channels.method) as method,
    expected.revenue_amount,
    channels.revenue_amount as channels_revenue_amount
from expected
full outer join channels
    on expected.month_start_date = channels.month_start_date
    and expected.method = channels.method
where
    coalesce(expected.orders_count, 0) <> coalesce(channels.orders_credited, 0)
    or coalesce(expected.revenue_amount, 0) <> coalesce(channels.revenue_amount, 0)
