{{ config(meta={'dagster': {'ref': {'name': 'dim_dates'}}}) }}

-- The dbt var `holiday_country` names a country of the seed; with another, no day of dim_dates is a holiday. It is asked
-- with dim_dates, as a change of the var builds that alone.
with dates as (
    select * from {{ ref('dim_dates') }}
),

holidays as (
    select * from {{ ref('holidays') }}
    where country_code = '{{ var("holiday_country") }}'
)

select distinct '{{ var("holiday_country") }}' as holiday_country
from dates
where not exists (select * from holidays)
