{{ config(meta={'dagster': {'ref': {'name': 'dim_dates'}}}) }}

-- Each holiday of the shop's country is on its day, and no other day has one.
with holidays as (
    select * from {{ ref('holidays') }}
    where country_code = '{{ var("holiday_country") }}'
)

select
    dates.date_day,
    dates.holiday_name,
    holidays.holiday_name as seeds_holiday_name
from {{ ref('dim_dates') }} as dates
left join holidays on dates.date_day = holidays.holiday_date
where dates.holiday_name is distinct from holidays.holiday_name
