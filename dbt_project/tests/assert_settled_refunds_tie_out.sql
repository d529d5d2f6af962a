{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'int_orders_settled'}}}) }}

-- What was refunded of an order is the sum of its refunds.
with refunds as (
    select
        order_id,
        sum(amount) as refunded_amount
    from {{ ref('fct_refunds') }}
    group by order_id
)

select
    orders.order_id,
    refunds.refunded_amount,
    orders.refunded_amount as orders_refunded_amount
from {{ ref('int_orders_settled') }} as orders
left join refunds on orders.order_id = refunds.order_id
where orders.refunded_amount <> coalesce(refunds.refunded_amount, 0)
