{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'int_orders_settled'}}}) }}

-- An order that is not cancelled is paid to the cent: never too much, never in part, and in full once it is due, which
-- it is `payment_due_days` after it. A free order needs no payment. Excused is only what has a payment in quarantine,
-- or a version of the order, which may have cancelled it; a copy that came twice lacks nothing.
with quarantined as (
    select {{ json_text('"row"', 'order_id') }} as order_id
    from {{ source('quarantine', 'payments') }}
    where reason <> 'exact_duplicate'
    union
    select {{ json_text('"row"', 'order_id') }} as order_id
    from {{ source('quarantine', 'orders') }}
    where reason <> 'exact_duplicate'
),

orders as (
    select
        *,
        max(order_date) over () as last_order_date
    from {{ ref('int_orders_settled') }}
)

select
    orders.order_id,
    orders.order_date,
    orders.total_amount,
    orders.captured_amount
from orders
left join quarantined on orders.order_id = quarantined.order_id
where
    not orders.is_cancelled
    and quarantined.order_id is null
    and orders.captured_amount <> orders.total_amount
    and (orders.captured_amount > 0 or orders.order_date < orders.last_order_date - {{ var('payment_due_days') }})
