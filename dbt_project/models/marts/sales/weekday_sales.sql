with orders as (
    select
        *,
        cast(extract(hour from ordered_at at time zone 'UTC') as bigint) as hour_of_day
    from {{ ref('fct_orders') }}
    where not is_cancelled
),

bounds as (
    select
        min(order_date) as first_date,
        max(order_date) as last_date
    from orders
),

days as (
    select dates.*
    from {{ ref('dim_dates') }} as dates
    inner join bounds on dates.date_day between bounds.first_date and bounds.last_date
),

weekdays as (
    select
        day_of_week,
        day_name,
        count(*) as days_count
    from days
    group by day_of_week, day_name
),

hours as (
    select cast(generated.hour_of_day as bigint) as hour_of_day
    from generate_series(0, 23) as generated (hour_of_day)
),

summed as (
    select
        dates.day_of_week,
        orders.hour_of_day,
        count(*) as orders_count,
        sum(orders.total_amount) as revenue_amount
    from orders
    inner join {{ ref('dim_dates') }} as dates on orders.order_date = dates.date_day
    group by dates.day_of_week, orders.hour_of_day
),

final as (
    select
        weekdays.day_of_week,
        hours.hour_of_day,
        weekdays.day_name,
        weekdays.days_count,
        coalesce(summed.orders_count, 0) as orders_count,
        cast(coalesce(summed.revenue_amount, 0) as decimal(18, 2)) as revenue_amount,
        {{ ratio('coalesce(summed.orders_count, 0)', 'weekdays.days_count') }} as average_orders,
        {{ ratio('coalesce(summed.revenue_amount, 0)', 'weekdays.days_count') }} as average_revenue_amount
    from weekdays
    cross join hours
    left join summed
        on
        weekdays.day_of_week = summed.day_of_week
        and hours.hour_of_day = summed.hour_of_day
)

select * from final
