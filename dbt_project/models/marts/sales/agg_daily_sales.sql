{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='order_date',
    on_schema_change='fail',
    meta={'looks_up': ['fct_orders']}
) }}

with orders as (
    select * from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and {{ in_window('order_date') }}
),

lines as (
    select * from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and {{ in_window('order_date') }}
),

ordered as (
    select
        order_date,
        count(*) as orders_count,
        count(distinct customer_id) as customers_count,
        cast(sum(item_quantity) as bigint) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(shipping_amount) as shipping_amount,
        sum(total_amount) as revenue_amount
    from orders
    group by order_date
),

costed as (
    select
        order_date,
        sum(cost_amount) as cost_amount,
        sum(margin_amount) as margin_amount
    from lines
    group by order_date
),

refunded as (
    {% if delivers('refunds') %}
    select
        refunds.refund_date as order_date,
        sum(refunds.amount) as refunded_amount
    from {{ ref('fct_refunds') }} as refunds
    left join {{ ref('fct_orders') }} as refunded_orders on refunds.order_id = refunded_orders.order_id
    where
        refunded_orders.is_cancelled is not true
        and {{ in_window('refunds.refund_date') }}
    group by refunds.refund_date
    {% else %}
    select
        cast(null as date) as order_date,
        cast(null as decimal(18, 2)) as refunded_amount
    where false
    {% endif %}
),

captured as (
    {% if delivers('payments') %}
    select
        payment_date as order_date,
        sum(amount) as captured_amount
    from {{ ref('fct_payments') }}
    where
        is_captured
        and {{ in_window('payment_date') }}
    group by payment_date
    {% else %}
    select
        cast(null as date) as order_date,
        cast(null as decimal(18, 2)) as captured_amount
    where false
    {% endif %}
),

-- A day may have refunds or late payments and no order.
days as (
    select order_date from ordered
    union distinct
    select order_date from refunded
    union distinct
    select order_date from captured
),

final as (
    select
        days.order_date,
        coalesce(ordered.orders_count, 0) as orders_count,
        coalesce(ordered.customers_count, 0) as customers_count,
        coalesce(ordered.units, 0) as units,
        cast(coalesce(ordered.gross_amount, 0) as decimal(18, 2)) as gross_amount,
        cast(coalesce(ordered.discount_amount, 0) as decimal(18, 2)) as discount_amount,
        cast(coalesce(ordered.shipping_amount, 0) as decimal(18, 2)) as shipping_amount,
        cast(coalesce(ordered.revenue_amount, 0) as decimal(18, 2)) as revenue_amount,
        cast(coalesce(refunded.refunded_amount, 0) as decimal(18, 2)) as refunded_amount,
        cast(coalesce(ordered.revenue_amount, 0) - coalesce(refunded.refunded_amount, 0) as decimal(18, 2))
            as net_revenue_amount,
        cast({{ 'coalesce(captured.captured_amount, 0)' if delivers('payments') else 'null' }} as decimal(18, 2))
            as captured_amount,
        cast(costed.cost_amount as decimal(18, 2)) as cost_amount,
        cast(costed.margin_amount as decimal(18, 2)) as margin_amount
    from days
    left join ordered on days.order_date = ordered.order_date
    left join costed on days.order_date = costed.order_date
    left join refunded on days.order_date = refunded.order_date
    left join captured on days.order_date = captured.order_date
)

select * from final
