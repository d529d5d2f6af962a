{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'fct_sessions'}}}) }}

-- A visitor's next session begins after a gap, or after the midnight that ends a whole day without one; never before.
with sessions as (
    select
        session_key,
        started_at,
        ended_at,
        {{ utc_date('ended_at') }} as ended_date,
        lead(started_at) over (partition by visitor_id order by started_at, session_key) as next_started_at
    from {{ ref('fct_sessions') }}
    where {{ in_window('started_at', before=2, after=2) }}
)

select
    session_key,
    started_at,
    ended_at,
    next_started_at
from sessions
where
    next_started_at <= ended_at + interval '{{ var("session_gap_minutes") }} minutes'
    and (
        {{ utc_date('next_started_at') }} <> ended_date + 1
        -- Not after the first minutes of the day that has ended: that day was not whole.
        or started_at > cast(ended_date as timestamp) at time zone 'UTC'
        + interval '{{ var("session_gap_minutes") }} minutes'
    )
