{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='paid_at',
    on_schema_change='fail',
    enabled=delivers('payments')
) }}

with source as (
    select * from {{ ref('stg_shop__payments') }}
    where {{ in_window('paid_at') }}
),

final as (
    select
        payment_id,
        order_id,
        paid_at,
        {{ utc_date('paid_at') }} as payment_date,
        md5(payment_method) as payment_method_key,
        payment_status,
        card_fingerprint,
        device_id,
        ip_address,
        amount,
        payment_status = 'captured' as is_captured
    from source
)

select * from final
