{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'conversion_funnel'}}}) }}

-- The funnel of a day has each of its sessions once, at the step that it came to.
with sessions as (
    select
        session_date,
        count(*) as sessions_count,
        sum(case when is_bounce then 1 else 0 end) as bounces_count,
        sum(case when has_product_view then 1 else 0 end) as view_sessions_count,
        sum(case when has_cart then 1 else 0 end) as cart_sessions_count,
        sum(case when has_checkout then 1 else 0 end) as checkout_sessions_count,
        sum(case when has_purchase then 1 else 0 end) as purchase_sessions_count
    from {{ ref('fct_sessions') }}
    group by session_date
),

funnel as (
    select
        session_date,
        sum(sessions_count) as sessions_count,
        sum(bounces_count) as bounces_count,
        sum(view_sessions_count) as view_sessions_count,
        sum(cart_sessions_count) as cart_sessions_count,
        sum(checkout_sessions_count) as checkout_sessions_count,
        sum(purchase_sessions_count) as purchase_sessions_count
    from {{ ref('conversion_funnel') }}
    group by session_date
)

select
    coalesce(sessions.session_date, funnel.session_date) as session_date,
    sessions.sessions_count,
    funnel.sessions_count as funnel_sessions_count
from sessions
full outer join funnel on sessions.session_date = funnel.session_date
where
    sessions.sessions_count is distinct from funnel.sessions_count
    or sessions.bounces_count <> funnel.bounces_count
    or sessions.view_sessions_count <> funnel.view_sessions_count
    or sessions.cart_sessions_count <> funnel.cart_sessions_count
    or sessions.checkout_sessions_count <> funnel.checkout_sessions_count
    or sessions.purchase_sessions_count <> funnel.purchase_sessions_count
