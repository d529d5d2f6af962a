-- What an order costs is its lines' worth, less discounts, plus shipping.
select
    order_id,
    gross_amount - discount_amount + shipping_amount as expected_amount,
    total_amount
from {{ ref('fct_orders') }}
where total_amount <> gross_amount - discount_amount + shipping_amount
