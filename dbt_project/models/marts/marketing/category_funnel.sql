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
        event_type in ('product_view', 'add_to_cart', 'checkout', 'purchase')
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
        case when shown.event_type = 'add_to_cart' then shown.occurred_at end as carted_at,
        false as is_purchase
    from shown
    {{ asof_join('shown', 'products', 'product_id', 'occurred_at') }}
),

-- The order's day is bounded by the session's, so that an order's lines change sessions near its window only.
bought as (
    select
        events.session_key,
        products.category,
        events.occurred_at as carted_at,
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

-- A checkout names no product: it is one of whatever was put in the cart before. A purchase stands for one.
checkouts as (
    select
        session_key,
        max(occurred_at) as last_checkout_at
    from events
    where event_type in ('checkout', 'purchase')
    group by session_key
),

-- Each session once for a category, however often it met it.
met as (
    select
        session_key,
        category,
        min(carted_at) as carted_at,
        bool_or(is_purchase) as has_purchase
    from steps
    group by session_key, category
),

reached as (
    select
        sessions.session_date,
        met.category,
        met.carted_at is not null as has_cart,
        met.carted_at <= checkouts.last_checkout_at as has_checkout,
        met.has_purchase
    from met
    inner join sessions on met.session_key = sessions.session_key
    left join checkouts on met.session_key = checkouts.session_key
),

summed as (
    select
        session_date,
        category,
        count(*) as view_sessions_count,
        count(*) filter (where has_cart) as cart_sessions_count,
        count(*) filter (where has_checkout) as checkout_sessions_count,
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
        checkout_sessions_count,
        purchase_sessions_count,
        {{ ratio('cart_sessions_count', 'view_sessions_count') }} as cart_rate,
        {{ ratio('checkout_sessions_count', 'cart_sessions_count') }} as checkout_rate,
        {{ ratio('purchase_sessions_count', 'checkout_sessions_count') }} as purchase_rate,
        {{ ratio('purchase_sessions_count', 'view_sessions_count') }} as conversion_rate
    from summed
)

select * from final
