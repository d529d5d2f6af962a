with source as (
    select * from {{ source('shop', 'products') }}
),

renamed as (
    select
        product_id,
        updated_at,
        name as product_name,
        category,
        brand,
        list_price,
        unit_cost,
        is_active,
        {{ version_rank(['product_id', 'updated_at']) }} as version_rank
    from source
),

final as (
    select
        product_id,
        updated_at,
        product_name,
        category,
        brand,
        list_price,
        unit_cost,
        is_active
    from renamed
    where version_rank = 1
)

select * from final
