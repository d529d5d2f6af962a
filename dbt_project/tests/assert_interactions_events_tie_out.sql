{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'customer_product_interactions'}}}) }}

-- The views and additions to carts of the last 30 days are those of the events that name a customer.
with bounds as (
    select
        max(order_date) as last_date,
        max(order_date) - 29 as first_date
    from {{ ref('fct_orders') }}
),

events as (
    select
        count(*) filter (where events.event_type = 'product_view') as views,
        count(*) filter (where events.event_type = 'add_to_cart') as carts
    from {{ ref('fct_events') }} as events
    inner join bounds on events.event_date between bounds.first_date and bounds.last_date
    where
        events.customer_id is not null
        and events.product_id is not null
),

found as (
    select
        coalesce(sum(views_30d), 0) as views,
        coalesce(sum(carts_30d), 0) as carts
    from {{ ref('customer_product_interactions') }}
)

select
    events.views,
    found.views as found_views,
    events.carts,
    found.carts as found_carts
from events
cross join found
where
    events.views <> found.views
    or events.carts <> found.carts
