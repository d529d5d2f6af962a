{{ config(enabled=delivers('refunds')) }}

with source as (
    select * from {{ source('shop', 'refunds') }}
),

renamed as (
    select
        refund_id,
        credit_note_id,
        refunded_at,
        order_id,
        line_number,
        customer_id,
        product_id,
        quantity,
        unit_price,
        amount,
        reason,
        {{ version_rank(['refund_id', 'refunded_at']) }} as version_rank
    from source
),

final as (
    select
        refund_id,
        credit_note_id,
        refunded_at,
        order_id,
        line_number,
        customer_id,
        product_id,
        quantity,
        unit_price,
        amount,
        reason
    from renamed
    where version_rank = 1
)

select * from final
