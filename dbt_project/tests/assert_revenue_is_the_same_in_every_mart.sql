{{ config(meta={'dagster': {'ref': {'name': 'agg_daily_sales'}}}) }}

-- Orders and revenue are the same in every mart, by month; weekday_sales has no months and is held by its total.
with marts as (
    select
        'agg_daily_sales' as mart,
        cast(date_trunc('month', order_date) as date) as month_start_date,
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ ref('agg_daily_sales') }}
    where orders_count > 0
    group by 2
    union all
    select
        'sales_by_geography' as mart,
        month_start_date,
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ ref('sales_by_geography') }}
    group by month_start_date
    union all
    select
        'discount_impact' as mart,
        month_start_date,
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ ref('discount_impact') }}
    group by month_start_date
    union all
    select
        'weekday_sales' as mart,
        cast(null as date) as month_start_date,
        sum(orders_count) as orders_count,
        sum(revenue_amount) as revenue_amount
    from {{ ref('weekday_sales') }}
),

orders as (
    select
        cast(date_trunc('month', order_date) as date) as month_start_date,
        count(*) as orders_count,
        sum(total_amount) as revenue_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
    group by 1
),

expected as (
    select
        names.mart,
        orders.*
    from orders
    cross join (select distinct mart from marts where month_start_date is not null) as names
    union all
    select
        'weekday_sales' as mart,
        cast(null as date) as month_start_date,
        coalesce(sum(orders_count), 0) as orders_count,
        coalesce(sum(revenue_amount), 0) as revenue_amount
    from orders
)

select
    coalesce(expected.mart, marts.mart) as mart,
    coalesce(expected.month_start_date, marts.month_start_date) as month_start_date,
    expected.revenue_amount,
    marts.revenue_amount as marts_revenue_amount
from expected
full outer join marts
    on
        expected.mart = marts.mart
        and coalesce(expected.month_start_date, cast('1900-01-01' as date))
        = coalesce(marts.month_start_date, cast('1900-01-01' as date))
where
    expected.orders_count is distinct from marts.orders_count
    or expected.revenue_amount is distinct from marts.revenue_amount
