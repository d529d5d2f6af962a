{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='sales_date',
    on_schema_change='fail',
    meta={'looks_up': ['fct_orders']}
) }}

with lines as (
    select * from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and {{ in_window('order_date') }}
),

sold as (
    select
        product_id,
        order_date as sales_date,
        count(distinct order_id) as orders_count,
        cast(sum(quantity) as bigint) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount,
        sum(cost_amount) as cost_amount,
        sum(margin_amount) as margin_amount
    from lines
    group by product_id, order_date
),

refunded as (
    {% if delivers('refunds') %}
    select
        refunds.product_id,
        refunds.refund_date as sales_date,
        cast(sum(refunds.quantity) as bigint) as refunded_units,
        sum(refunds.amount) as refunded_amount
    from {{ ref('fct_refunds') }} as refunds
    left join {{ ref('fct_orders') }} as refunded_orders on refunds.order_id = refunded_orders.order_id
    where
        refunds.product_id is not null
        and refunded_orders.is_cancelled is not true
        and {{ in_window('refunds.refund_date') }}
    group by refunds.product_id, refunds.refund_date
    {% else %}
    select
        cast(null as varchar) as product_id,
        cast(null as date) as sales_date,
        cast(null as bigint) as refunded_units,
        cast(null as decimal(18, 2)) as refunded_amount
    where false
    {% endif %}
),

final as (
    select
        coalesce(sold.product_id, refunded.product_id) as product_id,
        coalesce(sold.sales_date, refunded.sales_date) as sales_date,
        coalesce(sold.orders_count, 0) as orders_count,
        coalesce(sold.units, 0) as units,
        cast(coalesce(sold.gross_amount, 0) as decimal(18, 2)) as gross_amount,
        cast(coalesce(sold.discount_amount, 0) as decimal(18, 2)) as discount_amount,
        cast(coalesce(sold.net_amount, 0) as decimal(18, 2)) as net_amount,
        cast(sold.cost_amount as decimal(18, 2)) as cost_amount,
        cast(sold.margin_amount as decimal(18, 2)) as margin_amount,
        coalesce(refunded.refunded_units, 0) as refunded_units,
        cast(coalesce(refunded.refunded_amount, 0) as decimal(18, 2)) as refunded_amount
    from sold
    full outer join refunded
        on
        sold.product_id = refunded.product_id
        and sold.sales_date = refunded.sales_date
)

select * from final
