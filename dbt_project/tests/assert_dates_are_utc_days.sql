{{ config(meta={'dagster': {'ref': {'name': 'fct_orders'}}}) }}

-- The day of a fact is the UTC day of its moment, whatever the session's time zone.
select
    order_id,
    ordered_at,
    order_date
from {{ ref('fct_orders') }}
where order_date <> {{ utc_date('ordered_at') }}

union all

select
    order_id,
    ordered_at,
    order_date
from {{ ref('fct_order_items') }}
where order_date <> {{ utc_date('ordered_at') }}
