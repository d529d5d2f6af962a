{{ config(enabled=delivers('reviews')) }}

with source as (
    select * from {{ source('shop', 'reviews') }}
),

renamed as (
    select
        review_id,
        reviewed_at,
        product_id,
        customer_id,
        order_id,
        rating,
        body as review_text,
        {{ version_rank(['review_id', 'reviewed_at']) }} as version_rank
    from source
),

final as (
    select
        review_id,
        reviewed_at,
        product_id,
        customer_id,
        order_id,
        rating,
        review_text
    from renamed
    where version_rank = 1
)

select * from final
