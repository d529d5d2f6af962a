{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='occurred_at',
    on_schema_change='fail',
    enabled=delivers('events'),
    meta={'window_margin_days': [0, 2]}
) }}

{%- set history -%} over (partition by visitor_id, is_activity order by occurred_at, event_id) {%- endset -%}

-- A session begins on the day of its event or on the day before, and whether it does depends on the last minutes of the
-- day before that. A late event changes sessions up to the end of the day after the window.
with source as (
    select
        *,
        {{ utc_date('occurred_at') }} as event_date,
        event_type not in ('email_sent', 'email_open') as is_activity
    from {{ ref('stg_shop__events') }}
    where {{ in_window('occurred_at', before=2, after=2) }}
),

parted as (
    select
        *,
        coalesce(
            occurred_at > lag(occurred_at) {{ history }}
            + interval '{{ var("session_gap_minutes") }} minutes',
            true
        ) as is_after_gap,
        coalesce(event_date <> lag(event_date) {{ history }}, true) as is_first_of_day
    from source
),

unbroken_days as (
    select
        visitor_id,
        is_activity,
        event_date + 1 as following_date
    from parted
    group by visitor_id, is_activity, event_date
    having not bool_or(is_after_gap)
),

-- Without an end to it, the session of a bot that never rests would reach back through all windows.
begun as (
    select
        parted.*,
        parted.is_after_gap or (parted.is_first_of_day and unbroken_days.following_date is not null) as is_begin
    from parted
    left join unbroken_days
        on parted.visitor_id = unbroken_days.visitor_id
        and parted.is_activity = unbroken_days.is_activity
        and parted.event_date = unbroken_days.following_date
),

placed as (
    select
        *,
        max(case when is_begin then occurred_at end) over (
            partition by visitor_id, is_activity
            order by occurred_at, event_id
            rows between unbounded preceding and current row
        ) as session_started_at
    from begun
),

final as (
    select
        event_id,
        occurred_at,
        event_date,
        received_at,
        event_type,
        visitor_id,
        case when is_activity then {{ surrogate_key(['visitor_id', epoch_microseconds('session_started_at')]) }} end
            as session_key,
        customer_id,
        device,
        channel,
        campaign_id,
        product_id,
        order_id
    from placed
    where {{ in_window('occurred_at', after=2) }}
)

select * from final
