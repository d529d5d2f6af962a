{{ config(enabled=delivers('events')) }}

with sessions as (
    select * from {{ ref('fct_sessions') }}
),

-- A browser that several customers use tells nothing of who used it unseen.
visitors as (
    select
        visitor_id,
        min(customer_id) as customer_id
    from {{ ref('fct_events') }}
    where customer_id is not null
    group by visitor_id
    having min(customer_id) = max(customer_id)
),

final as (
    select
        sessions.session_key,
        coalesce(sessions.customer_id, visitors.customer_id, '(visitor) ' || sessions.visitor_id) as buyer_id,
        sessions.started_at,
        sessions.channel
    from sessions
    left join visitors on sessions.visitor_id = visitors.visitor_id
)

select * from final
