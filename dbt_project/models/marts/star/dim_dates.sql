{%- set month_names = [
    'January', 'February', 'March', 'April', 'May', 'June',
    'July', 'August', 'September', 'October', 'November', 'December'
] -%}
{%- set day_names = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] -%}
{%- set fiscal_start = var('fiscal_year_start_month') -%}

with orders as (
    select * from {{ ref('stg_shop__orders') }}
),

holidays as (
    select * from {{ ref('holidays') }}
    where country_code = '{{ var("holiday_country") }}'
),

-- Whole years, one more before the first order and one after the last: stock and campaigns come before orders, refunds
-- and late events after them.
bounds as (
    select
        cast(extract(year from min({{ utc_date('ordered_at') }})) as bigint) - 1 as first_year,
        cast(extract(year from max({{ utc_date('ordered_at') }})) as bigint) + 1 as last_year
    from orders
),

spine as (
    {{ days_between("cast('1995-01-01' as date)", "cast('2060-01-01' as date)") }}
),

days as (
    select
        cast(spine.date_day as date) as date_day,
        cast(extract(year from spine.date_day) as bigint) as calendar_year,
        cast(extract(quarter from spine.date_day) as bigint) as calendar_quarter,
        cast(extract(month from spine.date_day) as bigint) as calendar_month,
        cast(extract(week from spine.date_day) as bigint) as iso_week,
        cast(extract(day from spine.date_day) as bigint) as day_of_month,
        cast(extract(isodow from spine.date_day) as bigint) as day_of_week,
        cast(extract(doy from spine.date_day) as bigint) as day_of_year,
        cast(date_trunc('month', spine.date_day) as date) as month_start_date,
        mod(cast(extract(month from spine.date_day) as bigint) - {{ fiscal_start }} + 12, 12) + 1
            as fiscal_month
    from spine
),

final as (
    select
        days.date_day,
        days.calendar_year,
        days.calendar_quarter,
        days.calendar_month,
        case days.calendar_month
            {%- for name in month_names %}
            when {{ loop.index }} then '{{ name }}'
            {%- endfor %}
        end as month_name,
        days.month_start_date,
        days.iso_week,
        days.day_of_month,
        days.day_of_year,
        days.day_of_week,
        case days.day_of_week
            {%- for name in day_names %}
            when {{ loop.index }} then '{{ name }}'
            {%- endfor %}
        end as day_name,
        days.day_of_week >= 6 as is_weekend,
        holidays.holiday_date is not null as is_holiday,
        holidays.holiday_name,
        days.calendar_year + case
            when {{ fiscal_start }} > 1 and days.calendar_month >= {{ fiscal_start }} then 1
            else 0
        end as fiscal_year,
        cast(ceil(days.fiscal_month / 3.0) as bigint) as fiscal_quarter,
        days.fiscal_month
    from days
    inner join bounds on days.calendar_year between bounds.first_year and bounds.last_year
    left join holidays on days.date_day = holidays.holiday_date
)

select * from final
