{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='ordered_at',
    on_schema_change='fail'
) }}

with lines as (
    select * from {{ ref('stg_shop__order_items') }}
    where {{ in_window('ordered_at') }}
),

orders as (
    select
        *,
        coalesce(customer_id, {{ guest_id() }}) as member_id
    from {{ ref('stg_shop__orders') }}
    where {{ in_window('ordered_at') }}
),

customers as (
    select
        customer_key,
        customer_id as member_id,
        valid_from,
        valid_to
    from {{ ref('dim_customers') }}
),

products as (
    select
        product_key,
        product_id,
        unit_cost,
        valid_from,
        valid_to
    from {{ ref('dim_products') }}
),

-- The customer's version is found once for an order, and not for each of its lines.
placed as (
    select
        orders.order_id,
        orders.customer_id,
        customers.customer_key,
        orders.status = 'cancelled' as is_cancelled
    from orders
    {{ asof_join('orders', 'customers', 'member_id', 'ordered_at') }}
),

sold as (
    select
        lines.order_id,
        lines.line_number,
        lines.ordered_at,
        placed.customer_id,
        placed.customer_key,
        lines.product_id,
        lines.quantity,
        lines.unit_price,
        cast(round(lines.quantity * lines.unit_price, 2) as decimal(18, 2)) as gross_amount,
        lines.discount_amount,
        placed.is_cancelled
    from lines
    inner join placed on lines.order_id = placed.order_id
),

final as (
    select
        {{ surrogate_key(['sold.order_id', 'sold.line_number']) }} as order_item_key,
        sold.order_id,
        sold.line_number,
        sold.ordered_at,
        {{ utc_date('sold.ordered_at') }} as order_date,
        sold.customer_id,
        sold.customer_key,
        sold.product_id,
        products.product_key,
        sold.quantity,
        sold.unit_price,
        sold.gross_amount,
        sold.discount_amount,
        cast(sold.gross_amount - sold.discount_amount as decimal(18, 2)) as net_amount,
        products.unit_cost,
        cast(round(sold.quantity * products.unit_cost, 2) as decimal(18, 2)) as cost_amount,
        cast(
            sold.gross_amount - sold.discount_amount - round(sold.quantity * products.unit_cost, 2) as decimal(18, 2)
        ) as margin_amount,
        sold.is_cancelled
    from sold
    {{ asof_join('sold', 'products', 'product_id', 'ordered_at') }}
)

select * from final
