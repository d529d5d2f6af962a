{{ config(meta={'dagster': {'ref': {'name': 'agg_daily_sales'}}}) }}

-- Orders and revenue are the same in every mart, by month; weekday_sales has no months and is held by its total.
with facts as (
    select
        cast(date_trunc('month', order_date) as date) as month_start_date,
        total_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
),

orders as (
    select
        month_start_date,
        count(*) as orders_count,
        sum(total_amount) as revenue_amount
    from facts
    group by month_start_date
),

days as (
    select
        cast(date_trunc('month', order_date) as date) as month_start_date,
        orders_count,
        revenue_amount
    from {{ ref('agg_daily_sales') }}
    where orders_count > 0
),

{%- for mart in ['days', ref('sales_by_geography'), ref('discount_impact')] %}

mart_{{ loop.index }} as (
    select
        month_start_date,
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ mart }}
    group by month_start_date
),
{%- endfor %}

hours as (
    select
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ ref('weekday_sales') }}
),

whole as (
    select
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from orders
)

{%- for name in ['agg_daily_sales', 'sales_by_geography', 'discount_impact'] %}

select
    '{{ name }}' as mart,
    coalesce(orders.month_start_date, mart_{{ loop.index }}.month_start_date) as month_start_date,
    orders.revenue_amount,
    mart_{{ loop.index }}.revenue_amount as marts_revenue_amount
from orders
full outer join mart_{{ loop.index }} on orders.month_start_date = mart_{{ loop.index }}.month_start_date
where
    orders.orders_count is distinct from mart_{{ loop.index }}.orders_count
    or orders.revenue_amount is distinct from mart_{{ loop.index }}.revenue_amount
union all
{%- endfor %}

select
    'weekday_sales' as mart,
    cast(null as date) as month_start_date,
    whole.revenue_amount,
    hours.revenue_amount as marts_revenue_amount
from whole
cross join hours
where
    whole.orders_count is distinct from hours.orders_count
    or whole.revenue_amount is distinct from hours.revenue_amount
