{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='refunded_at',
    on_schema_change='fail',
    meta={'looks_up': ['fct_orders', 'fct_order_items']},
    enabled=delivers('refunds')
) }}

with source as (
    select * from {{ ref('stg_shop__refunds') }}
    where {{ in_window('refunded_at') }}
),

-- Not bound to the window: what is refunded in it was mostly ordered before.
orders as (
    select
        order_id,
        customer_id
    from {{ ref('fct_orders') }}
),

lines as (
    select
        order_id,
        line_number,
        product_id
    from {{ ref('fct_order_items') }}
),

final as (
    select
        source.refund_id,
        source.credit_note_id,
        source.refunded_at,
        {{ utc_date('source.refunded_at') }} as refund_date,
        source.order_id,
        source.line_number,
        coalesce(source.customer_id, orders.customer_id) as customer_id,
        coalesce(source.product_id, lines.product_id) as product_id,
        source.quantity,
        source.unit_price,
        source.amount,
        source.reason
    from source
    left join orders on source.order_id = orders.order_id
    left join lines
        on source.order_id = lines.order_id
        and source.line_number = lines.line_number
)

select * from final
