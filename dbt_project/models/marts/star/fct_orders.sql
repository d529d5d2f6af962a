{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='ordered_at',
    on_schema_change='fail'
) }}

with orders as (
    select
        *,
        coalesce(customer_id, {{ guest_id() }}) as member_id
    from {{ ref('stg_shop__orders') }}
    where {{ in_window('ordered_at') }}
),

lines as (
    select
        order_id,
        count(*) as line_count,
        cast(sum(quantity) as bigint) as item_quantity
    from {{ ref('fct_order_items') }}
    where {{ in_window('ordered_at') }}
    group by order_id
),

customers as (
    select
        customer_key,
        customer_id as member_id,
        valid_from,
        valid_to
    from {{ ref('dim_customers') }}
),

final as (
    select
        orders.order_id,
        orders.ordered_at,
        {{ utc_date('orders.ordered_at') }} as order_date,
        orders.customer_id,
        customers.customer_key,
        {{ geography_key('orders.shipping_country', 'orders.shipping_city') }} as geography_key,
        orders.status,
        orders.channel,
        orders.device,
        orders.campaign_id,
        orders.coupon_code,
        coalesce(lines.line_count, 0) as line_count,
        coalesce(lines.item_quantity, 0) as item_quantity,
        orders.gross_amount,
        orders.discount_amount,
        orders.shipping_amount,
        orders.total_amount,
        orders.status = 'cancelled' as is_cancelled,
        orders.customer_id is null as is_guest
    from orders
    left join lines on orders.order_id = lines.order_id
    {{ asof_join('orders', 'customers', 'member_id', 'ordered_at') }}
)

select * from final
