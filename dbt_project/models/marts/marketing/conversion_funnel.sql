{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='session_date',
    on_schema_change='fail',
    enabled=delivers('events'),
    meta={'window_margin_days': [2, 2]}
) }}

with sessions as (
    select * from {{ ref('fct_sessions') }}
    where {{ in_window('started_at', before=2, after=2) }}
),

summed as (
    select
        session_date,
        coalesce(channel, 'unknown') as channel,
        coalesce(device, 'unknown') as device,
        count(*) as sessions_count,
        count(*) filter (where is_bounce) as bounces_count,
        count(*) filter (where has_product_view) as view_sessions_count,
        count(*) filter (where has_cart) as cart_sessions_count,
        count(*) filter (where has_checkout) as checkout_sessions_count,
        count(*) filter (where has_purchase) as purchase_sessions_count
    from sessions
    group by session_date, coalesce(channel, 'unknown'), coalesce(device, 'unknown')
),

final as (
    select
        session_date,
        channel,
        device,
        sessions_count,
        bounces_count,
        view_sessions_count,
        cart_sessions_count,
        checkout_sessions_count,
        purchase_sessions_count,
        {{ ratio('bounces_count', 'sessions_count') }} as bounce_rate,
        {{ ratio('view_sessions_count', 'sessions_count') }} as view_rate,
        {{ ratio('cart_sessions_count', 'view_sessions_count') }} as cart_rate,
        {{ ratio('checkout_sessions_count', 'cart_sessions_count') }} as checkout_rate,
        {{ ratio('purchase_sessions_count', 'checkout_sessions_count') }} as purchase_rate,
        {{ ratio('purchase_sessions_count', 'sessions_count') }} as conversion_rate
    from summed
)

select * from final
