{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'abandoned_touches'}}}) }}

-- A session that led to an order is on no path that led to none; the touches of a path are numbered without a hole.
with lost as (
    select * from {{ ref('abandoned_touches') }}
),

won as (
    select distinct session_key
    from {{ ref('order_touches') }}
)

select lost.path_key
from lost
inner join won on lost.session_key = won.session_key
union all
select path_key
from lost
group by path_key
having
    count(*) <> max(touch_number)
    or count(*) <> max(touch_count)
