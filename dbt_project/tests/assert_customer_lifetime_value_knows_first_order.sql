{{ config(meta={'dagster': {'ref': {'name': 'customer_lifetime_value'}}}) }}

-- The first order's day and channel are those of an order that was not cancelled, and no such order is earlier.
select
    lifetimes.customer_id,
    lifetimes.first_order_date
from {{ ref('customer_lifetime_value') }} as lifetimes
left join {{ ref('fct_orders') }} as orders
    on lifetimes.customer_id = orders.customer_id
    and not orders.is_cancelled
    and lifetimes.first_order_date >= orders.order_date
group by lifetimes.customer_id, lifetimes.first_order_date, lifetimes.first_order_channel
having
    coalesce(min(orders.order_date) <> lifetimes.first_order_date, true)
    or count(
        case when orders.channel is not distinct from lifetimes.first_order_channel then orders.order_id end
    ) = 0
