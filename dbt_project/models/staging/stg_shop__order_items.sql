with source as (
    select * from {{ source('shop', 'order_items') }}
),

renamed as (
    select
        order_id,
        line_number,
        ordered_at,
        product_id,
        quantity,
        unit_price,
        discount_amount,
        {{ version_rank(['order_id', 'line_number', 'ordered_at']) }} as version_rank
    from source
),

final as (
    select
        order_id,
        line_number,
        ordered_at,
        product_id,
        quantity,
        unit_price,
        discount_amount
    from renamed
    where version_rank = 1
)

select * from final
