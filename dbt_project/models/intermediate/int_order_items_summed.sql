with source as (
    select * from {{ ref('stg_shop__order_items') }}
),

final as (
    select
        order_id,
        ordered_at,
        count(*) as line_count,
        cast(sum(quantity) as bigint) as item_quantity,
        cast(sum(round(quantity * unit_price, 2)) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount
    from source
    group by order_id, ordered_at
)

select * from final
