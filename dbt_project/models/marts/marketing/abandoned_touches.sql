{{ config(enabled=delivers('events')) }}

{#- Built whole, as order_touches is: whether a session led to an order may be known only later. -#}

with orders as (
    select * from {{ ref('int_orders_ranked') }}
),

order_touches as (
    select distinct session_key
    from {{ ref('order_touches') }}
    where session_key is not null
),

as_of as (
    select max(order_date) + 1 as as_of_date
    from orders
    having count(*) > 0
),

-- What is younger than the window may still lead to an order: it is neither won nor lost.
lost as (
    select sessions.*
    from {{ ref('int_sessions_identified') }} as sessions
    cross join as_of
    left join order_touches on sessions.session_key = order_touches.session_key
    where
        sessions.channel is not null
        and order_touches.session_key is null
        and {{ utc_date('sessions.started_at') }} < as_of.as_of_date - {{ var('attribution_window_days') }}
),

begun as (
    select
        *,
        coalesce(
            started_at > lag(started_at) over (partition by buyer_id order by started_at, session_key)
            + interval '{{ var("attribution_window_days") }} days',
            true
        ) as is_begin
    from lost
),

numbered as (
    select
        *,
        sum(case when is_begin then 1 else 0 end) over (
            partition by buyer_id
            order by started_at, session_key
            rows between unbounded preceding and current row
        ) as path_number
    from begun
),

placed as (
    select
        *,
        first_value(session_key) over (
            partition by buyer_id, path_number order by started_at, session_key
        ) as path_key
    from numbered
),

final as (
    select
        path_key,
        row_number() over (partition by path_key order by started_at, session_key) as touch_number,
        count(*) over (partition by path_key) as touch_count,
        session_key,
        channel,
        started_at as touched_at
    from placed
)

select * from final
