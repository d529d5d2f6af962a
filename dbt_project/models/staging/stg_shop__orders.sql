with source as (
    select * from {{ source('shop', 'orders') }}
),

renamed as (
    select
        order_id,
        updated_at,
        ordered_at,
        customer_id,
        status,
        channel,
        device,
        campaign_id,
        coupon_code,
        subtotal_amount as gross_amount,
        discount_amount,
        shipping_amount,
        total_amount,
        shipping_city,
        shipping_postal_code,
        shipping_country,
        {{ version_rank(['order_id', 'ordered_at'], latest_by=['updated_at']) }} as version_rank
    from source
),

final as (
    select
        order_id,
        updated_at,
        ordered_at,
        customer_id,
        status,
        channel,
        device,
        campaign_id,
        coupon_code,
        gross_amount,
        discount_amount,
        shipping_amount,
        total_amount,
        shipping_city,
        shipping_postal_code,
        shipping_country
    from renamed
    where version_rank = 1
)

select * from final
