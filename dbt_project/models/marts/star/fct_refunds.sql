{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='refunded_at',
    on_schema_change='fail',
    enabled=delivers('refunds')
) }}

with source as (
    select * from {{ ref('stg_shop__refunds') }}
    where {{ in_window('refunded_at') }}
),

final as (
    select
        refund_id,
        credit_note_id,
        refunded_at,
        {{ utc_date('refunded_at') }} as refund_date,
        order_id,
        line_number,
        customer_id,
        product_id,
        quantity,
        unit_price,
        amount,
        reason
    from source
)

select * from final
