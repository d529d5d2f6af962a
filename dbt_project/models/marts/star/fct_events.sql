{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='occurred_at',
    on_schema_change='fail',
    enabled=delivers('events')
) }}

with source as (
    select * from {{ ref('stg_shop__events') }}
    where {{ in_window('occurred_at') }}
),

final as (
    select
        event_id,
        occurred_at,
        {{ utc_date('occurred_at') }} as event_date,
        received_at,
        event_type,
        visitor_id,
        customer_id,
        device,
        channel,
        campaign_id,
        product_id,
        order_id
    from source
)

select * from final
