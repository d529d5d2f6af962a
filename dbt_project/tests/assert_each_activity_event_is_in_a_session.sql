{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'fct_events'}}}) }}

-- Each delivered event of the run's window is in the fact: activity in a session, e-mails sent and opened in none.
select
    delivered.event_id,
    facts.session_key
from {{ ref('stg_shop__events') }} as delivered
left join {{ ref('fct_events') }} as facts on delivered.event_id = facts.event_id
where
    {{ in_window('delivered.occurred_at') }}
    and (
        facts.event_id is null
        or (facts.session_key is null) <> (delivered.event_type in ('email_sent', 'email_open'))
    )
