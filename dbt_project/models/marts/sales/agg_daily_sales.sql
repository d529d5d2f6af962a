{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='order_date',
    on_schema_change='fail'
) }}

with orders as (
    select * from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and {{ in_window('order_date') }}
),

final as (
    select
        order_date,
        count(*) as orders_count,
        count(distinct customer_id) as customers_count,
        cast(sum(item_quantity) as bigint) as units,
        cast(sum(gross_amount) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount,
        cast(sum(shipping_amount) as decimal(18, 2)) as shipping_amount,
        cast(sum(total_amount) as decimal(18, 2)) as revenue_amount
    from orders
    group by order_date
)

select * from final
