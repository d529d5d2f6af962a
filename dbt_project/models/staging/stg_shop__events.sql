{{ config(enabled=delivers('events')) }}

with source as (
    select * from {{ source('shop', 'events') }}
),

renamed as (
    select
        event_id,
        occurred_at,
        received_at,
        event_type,
        visitor_id,
        customer_id,
        device,
        channel,
        campaign_id,
        product_id,
        order_id,
        {{ version_rank(['event_id', 'occurred_at']) }} as version_rank
    from source
),

final as (
    select
        event_id,
        occurred_at,
        received_at,
        event_type,
        visitor_id,
        customer_id,
        device,
        channel,
        campaign_id,
        product_id,
        order_id
    from renamed
    where version_rank = 1
)

select * from final
