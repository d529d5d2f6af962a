{{ config(meta={'dagster': {'ref': {'name': 'fct_order_items'}}}) }}

-- A line's amounts follow from its quantity, price, cost and discount.
select
    order_id,
    line_number,
    quantity,
    unit_price,
    gross_amount,
    discount_amount,
    net_amount,
    unit_cost,
    cost_amount
from {{ ref('fct_order_items') }}
where
    gross_amount <> round(quantity * unit_price, 2)
    or net_amount <> gross_amount - discount_amount
    or cost_amount <> round(quantity * unit_cost, 2)
    or (cost_amount is null) <> (unit_cost is null)
