{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'category_funnel'}}}) }}

-- No category saw more sessions at a step than all of the day's channels and devices together, and steps only narrow.
with whole as (
    select
        session_date,
        sum(view_sessions_count) as view_sessions_count,
        sum(cart_sessions_count) as cart_sessions_count,
        sum(checkout_sessions_count) as checkout_sessions_count,
        sum(purchase_sessions_count) as purchase_sessions_count
    from {{ ref('conversion_funnel') }}
    group by session_date
)

select
    categories.session_date,
    categories.category
from {{ ref('category_funnel') }} as categories
left join whole on categories.session_date = whole.session_date
where
    whole.session_date is null
    or categories.view_sessions_count > whole.view_sessions_count
    or categories.cart_sessions_count > whole.cart_sessions_count
    or categories.checkout_sessions_count > whole.checkout_sessions_count
    or categories.purchase_sessions_count > whole.purchase_sessions_count
    or categories.cart_sessions_count > categories.view_sessions_count
    or categories.checkout_sessions_count > categories.cart_sessions_count
    or categories.purchase_sessions_count > categories.checkout_sessions_count
