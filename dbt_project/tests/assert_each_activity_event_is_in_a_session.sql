{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'fct_events'}}}) }}

-- Each event of the run's window is activity in a session, or an e-mail sent or opened, in none.
select
    event_id,
    session_key
from {{ ref('fct_events') }}
where
    {{ in_window('occurred_at') }}
    and (session_key is null) <> (event_type in ('email_sent', 'email_open'))
