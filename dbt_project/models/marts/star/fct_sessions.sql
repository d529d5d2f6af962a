{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='started_at',
    on_schema_change='fail',
    enabled=delivers('events'),
    meta={'window_margin_days': [2, 2]}
) }}

-- Wider than what is replaced by the two days that a session can last, so that each one replaced is read whole.
with events as (
    select
        *,
        row_number() over (partition by session_key order by occurred_at, event_id) as event_number
    from {{ ref('fct_events') }}
    where
        session_key is not null
        and {{ in_window('occurred_at', before=4, after=4) }}
),

places as (
    select
        session_key,
        max(event_number) filter (where customer_id is not null) as customer_place,
        min(event_number) filter (where device is not null) as device_place,
        min(event_number) filter (where channel is not null) as channel_place,
        min(event_number) filter (where campaign_id is not null) as campaign_place,
        min(event_number) filter (where event_type = 'purchase') as purchase_place
    from events
    group by session_key
),

summed as (
    select
        events.session_key,
        events.visitor_id,
        max(events.customer_id) filter (where events.event_number = places.customer_place) as customer_id,
        min(events.occurred_at) as started_at,
        max(events.occurred_at) as ended_at,
        max(events.device) filter (where events.event_number = places.device_place) as device,
        max(events.channel) filter (where events.event_number = places.channel_place) as channel,
        max(events.campaign_id) filter (where events.event_number = places.campaign_place) as campaign_id,
        max(events.order_id) filter (where events.event_number = places.purchase_place) as order_id,
        count(*) as event_count,
        count(*) filter (where events.event_type = 'page_view') as page_view_count,
        count(*) filter (where events.event_type = 'product_view') as product_view_count,
        count(*) filter (where events.event_type = 'add_to_cart') as cart_count,
        count(*) filter (where events.event_type = 'checkout') as checkout_count,
        count(*) filter (where events.event_type = 'purchase') as purchase_count
    from events
    inner join places on events.session_key = places.session_key
    group by events.session_key, events.visitor_id
),

final as (
    select
        session_key,
        visitor_id,
        customer_id,
        started_at,
        {{ utc_date('started_at') }} as session_date,
        ended_at,
        cast(
            floor(({{ epoch_microseconds('ended_at') }} - {{ epoch_microseconds('started_at') }}) / 1000000.0) as bigint
        ) as duration_seconds,
        device,
        channel,
        campaign_id,
        order_id,
        event_count,
        page_view_count,
        product_view_count,
        cart_count,
        checkout_count,
        purchase_count,
        -- Who skips a step, as a quick buy does the cart, has come as far: so each step is a part of the one before.
        product_view_count + cart_count + checkout_count + purchase_count > 0 as has_product_view,
        cart_count + checkout_count + purchase_count > 0 as has_cart,
        checkout_count + purchase_count > 0 as has_checkout,
        purchase_count > 0 as has_purchase,
        event_count = 1 as is_bounce
    from summed
    where {{ in_window('started_at', before=2, after=2) }}
)

select * from final
