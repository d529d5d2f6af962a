{{ config(enabled=delivers('payments')) }}

with source as (
    select * from {{ source('shop', 'payments') }}
),

renamed as (
    select
        payment_id,
        order_id,
        paid_at,
        method as payment_method,
        status as payment_status,
        amount,
        card_fingerprint,
        device_id,
        ip_address,
        {{ version_rank(['payment_id', 'paid_at']) }} as version_rank
    from source
),

final as (
    select
        payment_id,
        order_id,
        paid_at,
        payment_method,
        payment_status,
        amount,
        card_fingerprint,
        device_id,
        ip_address
    from renamed
    where version_rank = 1
)

select * from final
