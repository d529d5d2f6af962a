{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='session_date',
    on_schema_change='fail',
    enabled=delivers('events'),
    meta={'window_margin_days': [2, 2]}
) }}

with sessions as (
    select
        session_key,
        session_date
    from {{ ref('fct_sessions') }}
    where {{ in_window('started_at', before=2, after=2) }}
),

events as (
    select
        session_key,
        occurred_at,
        event_type,
        product_id,
        order_id
    from {{ ref('fct_events') }}
    where
        event_type in ('product_view', 'add_to_cart', 'purchase')
        and session_key is not null
        and {{ in_window('occurred_at', before=2, after=4) }}
),

products as (
    select
        product_key,
        product_id,
        coalesce(category, 'unknown') as category,
        valid_from,
        valid_to
    from {{ ref('dim_products') }}
),

order_lines as (
    select
        order_id,
        order_date,
        product_key
    from {{ ref('fct_order_items') }}
    where {{ in_window('ordered_at', before=3, after=4) }}
),

shown as (
    select *
    from events
    where
        event_type in ('product_view', 'add_to_cart')
        and product_id is not null
),

browsed as (
    select
        shown.session_key,
        products.category,
        shown.event_type = 'add_to_cart' as is_cart,
        false as is_purchase
    from shown
    {{ asof_join('shown', 'products', 'product_id', 'occurred_at') }}
),

-- The order's day is bounded by the session's, so that an order's lines change sessions near its window only.
bought as (
    select
        events.session_key,
        products.category,
        true as is_cart,
        true as is_purchase
    from events
    inner join sessions on events.session_key = sessions.session_key
    inner join order_lines
        on events.order_id = order_lines.order_id
        and order_lines.order_date between sessions.session_date - 1 and sessions.session_date + 2
    inner join products on order_lines.product_key = products.product_key
    where events.event_type = 'purchase'
),

steps as (
    select * from browsed
    where category is not null
    union all
    select * from bought
),

-- Each session once for a category, however often it met it.
reached as (
    select
        sessions.session_date,
        steps.category,
        sessions.session_key,
        bool_or(steps.is_cart) as has_cart,
        bool_or(steps.is_purchase) as has_purchase
    from steps
    inner join sessions on steps.session_key = sessions.session_key
    group by sessions.session_date, steps.category, sessions.session_key
),

summed as (
    select
        session_date,
        category,
        count(*) as view_sessions_count,
        count(*) filter (where has_cart) as cart_sessions_count,
        count(*) filter (where has_purchase) as purchase_sessions_count
    from reached
    group by session_date, category
),

final as (
    select
        session_date,
        category,
        view_sessions_count,
        cart_sessions_count,
        purchase_sessions_count,
        {{ ratio('cart_sessions_count', 'view_sessions_count') }} as cart_rate,
        {{ ratio('purchase_sessions_count', 'cart_sessions_count') }} as purchase_rate,
        {{ ratio('purchase_sessions_count', 'view_sessions_count') }} as conversion_rate
    from summed
)

select * from final
