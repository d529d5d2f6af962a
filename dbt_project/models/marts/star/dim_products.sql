with source as (
    select * from {{ ref('int_products_versioned') }}
),

final as (
    select
        {{ surrogate_key(['product_id', epoch_microseconds('updated_at')]) }} as product_key,
        product_id,
        version_number,
        valid_from,
        valid_to,
        is_current,
        product_name,
        category,
        brand,
        list_price,
        unit_cost,
        is_active
    from source
)

select * from final
