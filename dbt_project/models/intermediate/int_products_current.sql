with versions as (
    select * from {{ ref('int_products_versioned') }}
    where is_current
),

final as (
    select
        product_id,
        product_name,
        category,
        brand,
        list_price,
        unit_cost,
        is_active
    from versions
)

select * from final
