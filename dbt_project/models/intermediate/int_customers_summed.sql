-- A table: five marts read it, and each would sum all orders and lines again.
{{ config(materialized='table') }}

with customers as (
    select * from {{ ref('dim_customers') }}
    where
        is_current
        and customer_id <> {{ guest_id() }}
),

orders as (
    select * from {{ ref('fct_orders') }}
),

lines as (
    select * from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and customer_id is not null
),

products as (
    select
        product_key,
        category
    from {{ ref('dim_products') }}
),

refunds as (
    {% if delivers('refunds') %}
    select
        granted.customer_id,
        granted.amount
    from {{ ref('fct_refunds') }} as granted
    left join {{ ref('fct_orders') }} as refunded_orders on granted.order_id = refunded_orders.order_id
    where
        granted.customer_id is not null
        and refunded_orders.is_cancelled is not true
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(0 as decimal(18, 2)) as amount
    where false
    {% endif %}
),

-- The day after the last order, and not today: the same orders always give the same figures. None without orders.
as_of as (
    select max(order_date) + 1 as as_of_date
    from orders
    having count(*) > 0
),

placed as (
    select
        *,
        row_number() over (partition by customer_id, is_cancelled order by ordered_at, order_id) as order_number
    from orders
    where not is_guest
),

purchases as (
    select
        customer_id,
        max(channel) filter (where order_number = 1 and not is_cancelled) as first_channel,
        min(ordered_at) filter (where not is_cancelled) as first_ordered_at,
        max(ordered_at) filter (where not is_cancelled) as last_ordered_at,
        min(order_date) filter (where not is_cancelled) as first_order_date,
        max(order_date) filter (where not is_cancelled) as last_order_date,
        count(distinct date_trunc('month', order_date)) filter (where not is_cancelled) as active_months,
        count(*) filter (where not is_cancelled) as orders_count,
        count(*) filter (where is_cancelled) as cancelled_orders_count,
        sum(item_quantity) filter (where not is_cancelled) as units,
        sum(gross_amount) filter (where not is_cancelled) as gross_amount,
        sum(discount_amount) filter (where not is_cancelled) as discount_amount,
        sum(shipping_amount) filter (where not is_cancelled) as shipping_amount,
        sum(total_amount) filter (where not is_cancelled) as revenue_amount
    from placed
    group by customer_id
),

baskets as (
    select
        lines.customer_id,
        count(distinct lines.product_id) as products_count,
        count(distinct products.category) as categories_count,
        sum(lines.cost_amount) as cost_amount,
        sum(lines.net_amount - lines.cost_amount) as margin_amount
    from lines
    inner join products on lines.product_key = products.product_key
    group by lines.customer_id
),

returns as (
    select
        customer_id,
        sum(amount) as refunded_amount
    from refunds
    group by customer_id
),

final as (
    select
        customers.customer_id,
        purchases.first_channel,
        as_of.as_of_date,
        purchases.first_ordered_at,
        purchases.last_ordered_at,
        purchases.first_order_date,
        purchases.last_order_date,
        coalesce(purchases.active_months, 0) as active_months,
        coalesce(purchases.orders_count, 0) as orders_count,
        coalesce(purchases.cancelled_orders_count, 0) as cancelled_orders_count,
        coalesce(baskets.products_count, 0) as products_count,
        coalesce(baskets.categories_count, 0) as categories_count,
        cast(coalesce(purchases.units, 0) as bigint) as units,
        cast(coalesce(purchases.gross_amount, 0) as decimal(18, 2)) as gross_amount,
        cast(coalesce(purchases.discount_amount, 0) as decimal(18, 2)) as discount_amount,
        cast(coalesce(purchases.shipping_amount, 0) as decimal(18, 2)) as shipping_amount,
        cast(coalesce(purchases.revenue_amount, 0) as decimal(18, 2)) as revenue_amount,
        cast(coalesce(returns.refunded_amount, 0) as decimal(18, 2)) as refunded_amount,
        cast(coalesce(purchases.revenue_amount, 0) - coalesce(returns.refunded_amount, 0) as decimal(18, 2))
            as net_revenue_amount,
        cast(baskets.cost_amount as decimal(18, 2)) as cost_amount,
        cast(baskets.margin_amount as decimal(18, 2)) as margin_amount
    from customers
    cross join as_of
    left join purchases on customers.customer_id = purchases.customer_id
    left join baskets on customers.customer_id = baskets.customer_id
    left join returns on customers.customer_id = returns.customer_id
)

select * from final
