with source as (
    select * from {{ ref('stg_shop__products') }}
),

final as (
    select
        product_id,
        updated_at,
        {{ scd2_columns('product_id', 'updated_at') }},
        product_name,
        category,
        brand,
        list_price,
        unit_cost,
        is_active
    from source
)

select * from final
