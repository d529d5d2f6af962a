{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'fct_order_items'}}}) }}

-- By day of the order: the lines, less discounts, plus shipping are what was captured for them. Left out are cancelled
-- orders, orders that are not paid yet, and those of which a line is in quarantine.
with lines as (
    select
        order_id,
        sum(gross_amount - discount_amount) as net_amount
    from {{ ref('fct_order_items') }}
    group by order_id
),

quarantined as (
    select distinct {{ json_text('"row"', 'order_id') }} as order_id
    from {{ source('quarantine', 'order_items') }}
    where reason <> 'exact_duplicate'
)

select
    orders.order_date,
    sum(lines.net_amount + orders.shipping_amount) as sold_amount,
    sum(orders.captured_amount) as captured_amount
from {{ ref('int_orders_settled') }} as orders
left join lines on orders.order_id = lines.order_id
left join quarantined on orders.order_id = quarantined.order_id
where
    not orders.is_cancelled
    and orders.captured_amount > 0
    and quarantined.order_id is null
group by orders.order_date
having coalesce(sum(coalesce(lines.net_amount, 0) + orders.shipping_amount), 0) <> sum(orders.captured_amount)
