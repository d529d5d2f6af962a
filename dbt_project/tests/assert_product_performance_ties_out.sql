{{ config(meta={'dagster': {'ref': {'name': 'agg_product_performance'}}}) }}

-- The products of a day add up to the lines of its orders, and to the day's cost and margin.
with products as (
    select
        sales_date as order_date,
        sum(units) as units,
        sum(net_amount) as net_amount,
        sum(cost_amount) as cost_amount,
        sum(margin_amount) as margin_amount
    from {{ ref('agg_product_performance') }}
    where units > 0
    group by sales_date
),

lines as (
    select
        order_date,
        sum(quantity) as units,
        sum(net_amount) as net_amount,
        sum(cost_amount) as cost_amount,
        sum(margin_amount) as margin_amount
    from {{ ref('fct_order_items') }}
    where not is_cancelled
    group by order_date
)

select
    coalesce(products.order_date, lines.order_date) as order_date,
    products.net_amount,
    lines.net_amount as lines_net_amount
from products
full outer join lines on products.order_date = lines.order_date
left join {{ ref('agg_daily_sales') }} as days on lines.order_date = days.order_date
where
    products.units is distinct from lines.units
    or products.net_amount is distinct from lines.net_amount
    or products.cost_amount is distinct from lines.cost_amount
    or products.margin_amount is distinct from lines.margin_amount
    or days.cost_amount is distinct from lines.cost_amount
    or days.margin_amount is distinct from lines.margin_amount
