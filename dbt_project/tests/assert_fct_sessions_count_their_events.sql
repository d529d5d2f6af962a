{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'fct_sessions'}}}) }}

-- Each session that began in the run's window has exactly the events that name it, and its bounds are theirs.
with events as (
    select
        session_key,
        count(*) as event_count,
        count(*) filter (where event_type = 'page_view') as page_view_count,
        count(*) filter (where event_type = 'product_view') as product_view_count,
        count(*) filter (where event_type = 'add_to_cart') as cart_count,
        count(*) filter (where event_type = 'checkout') as checkout_count,
        count(*) filter (where event_type = 'purchase') as purchase_count,
        count(distinct visitor_id) as visitor_count,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at
    from {{ ref('fct_events') }}
    where
        session_key is not null
        and {{ in_window('occurred_at', after=2) }}
    group by session_key
)

select
    sessions.session_key,
    sessions.event_count,
    events.event_count as found_event_count
from {{ ref('fct_sessions') }} as sessions
left join events on sessions.session_key = events.session_key
where
    {{ in_window('sessions.started_at') }}
    and (
        sessions.event_count is distinct from events.event_count
        or sessions.page_view_count <> events.page_view_count
        or sessions.product_view_count <> events.product_view_count
        or sessions.cart_count <> events.cart_count
        or sessions.checkout_count <> events.checkout_count
        or sessions.purchase_count <> events.purchase_count
        or sessions.started_at <> events.started_at
        or sessions.ended_at <> events.ended_at
        or events.visitor_count <> 1
    )
