with orders as (
    select * from {{ ref('fct_orders') }}
),

payments as (
    {% if delivers('payments') %}
    select * from {{ ref('int_payments_summed') }}
    {% else %}
    select
        cast(null as varchar) as order_id,
        cast(null as decimal(18, 2)) as captured_amount
    where false
    {% endif %}
),

refunds as (
    {% if delivers('refunds') %}
    select * from {{ ref('int_refunds_summed') }}
    {% else %}
    select
        cast(null as varchar) as order_id,
        cast(null as decimal(18, 2)) as refunded_amount
    where false
    {% endif %}
),

final as (
    select
        orders.order_id,
        orders.customer_id,
        orders.geography_key,
        orders.ordered_at,
        orders.order_date,
        cast(date_trunc('month', orders.order_date) as date) as month_start_date,
        orders.is_cancelled,
        orders.item_quantity,
        orders.gross_amount,
        orders.discount_amount,
        orders.shipping_amount,
        orders.total_amount,
        cast({{ 'coalesce(payments.captured_amount, 0)' if delivers('payments') else 'null' }} as decimal(18, 2))
            as captured_amount,
        cast(coalesce(refunds.refunded_amount, 0) as decimal(18, 2)) as refunded_amount,
        cast(orders.total_amount - coalesce(refunds.refunded_amount, 0) as decimal(18, 2)) as net_revenue_amount
    from orders
    left join payments on orders.order_id = payments.order_id
    left join refunds on orders.order_id = refunds.order_id
)

select * from final
