{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'order_touches'}}}) }}

{%- set methods = ['first', 'last', 'linear', 'position_based', 'time_decay'] %}

-- Each order that was not cancelled has its touches numbered without a hole, and by each method they share out its
-- revenue to the cent and the order as one.
with touches as (
    select
        order_id,
        count(*) as found_count,
        max(touch_number) as last_number,
        {%- for method in methods %}
        sum({{ method }}_revenue_amount) as {{ method }}_revenue_amount,
        sum({{ method }}_order_share) as {{ method }}_order_share,
        {%- endfor %}
        min(touch_count) as touch_count
    from {{ ref('order_touches') }}
    group by order_id
),

orders as (
    select
        order_id,
        total_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
)

select
    coalesce(orders.order_id, touches.order_id) as order_id,
    orders.total_amount,
    touches.found_count
from orders
full outer join touches on orders.order_id = touches.order_id
where
    orders.order_id is null
    or touches.order_id is null
    or touches.found_count <> touches.last_number
    or touches.found_count <> touches.touch_count
    {%- for method in methods %}
    or touches.{{ method }}_revenue_amount <> orders.total_amount
    or touches.{{ method }}_order_share <> 1
    {%- endfor %}
