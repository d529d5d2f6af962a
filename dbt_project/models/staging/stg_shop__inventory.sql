{{ config(enabled=delivers('inventory')) }}

with source as (
    select * from {{ source('shop', 'inventory') }}
),

renamed as (
    select
        product_id,
        snapshot_date,
        quantity_on_hand,
        quantity_received,
        {{ version_rank(['product_id', 'snapshot_date']) }} as version_rank
    from source
),

final as (
    select
        product_id,
        snapshot_date,
        quantity_on_hand,
        quantity_received
    from renamed
    where version_rank = 1
)

select * from final
