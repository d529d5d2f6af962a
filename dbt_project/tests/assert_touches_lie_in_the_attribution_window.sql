{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'order_touches'}}}) }}

-- Touches come in the order of time and within the window; only the last, the order's own session, may break either.
with touches as (
    select
        order_id,
        touch_number,
        touch_count,
        touched_at,
        days_before_order,
        lead(touched_at) over (partition by order_id order by touch_number) as next_touched_at
    from {{ ref('order_touches') }}
)

select
    order_id,
    touch_number
from touches
where
    touch_number < touch_count
    and (
        days_before_order > {{ var('attribution_window_days') }}
        or (touch_number < touch_count - 1 and next_touched_at < touched_at)
    )
