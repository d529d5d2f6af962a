{{ config(meta={'dagster': {'ref': {'name': 'fct_order_items'}}}) }}

-- The lines of an order add up to the order's own amounts, to the cent; only a line in quarantine may be missing. What
-- the order counts of its lines is what there is.
with lines as (
    select
        order_id,
        count(*) as line_count,
        sum(quantity) as item_quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount
    from {{ ref('fct_order_items') }}
    group by order_id
),

quarantined as (
    select distinct {{ json_text('"row"', 'order_id') }} as order_id
    from {{ source('quarantine', 'order_items') }}
    where reason <> 'exact_duplicate'
)

select
    orders.order_id,
    orders.gross_amount,
    lines.gross_amount as lines_gross_amount,
    orders.discount_amount,
    lines.discount_amount as lines_discount_amount
from {{ ref('fct_orders') }} as orders
left join lines on orders.order_id = lines.order_id
left join quarantined on orders.order_id = quarantined.order_id
where
    orders.line_count <> coalesce(lines.line_count, 0)
    or orders.item_quantity <> coalesce(lines.item_quantity, 0)
    or (
        quarantined.order_id is null
        and (
            orders.gross_amount <> coalesce(lines.gross_amount, 0)
            or orders.discount_amount <> coalesce(lines.discount_amount, 0)
        )
    )
