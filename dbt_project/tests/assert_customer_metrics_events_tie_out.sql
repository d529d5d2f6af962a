{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- Every event of a visit that names a known customer is counted for that customer.
with events as (
    select
        customer_id,
        count(*) as events_count,
        max(event_date) as last_visit_date
    from {{ ref('fct_events') }}
    where event_type not like 'email%'
    group by customer_id
)

select
    metrics.customer_id,
    events.events_count,
    metrics.events_count as metrics_events_count
from {{ ref('agg_customer_metrics') }} as metrics
left join events on metrics.customer_id = events.customer_id
where
    coalesce(events.events_count, 0) <> metrics.events_count
    or events.last_visit_date is distinct from metrics.last_visit_date
