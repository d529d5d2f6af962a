{{ config(meta={'dagster': {'ref': {'name': 'dim_dates'}}}) }}

-- The dbt var `holiday_country` names a country of the seed; with another, no day is a holiday. It is asked
-- of dim_dates too, because a change of the var builds that alone.
with holidays as (
    select * from {{ ref('holidays') }}
    where country_code = '{{ var("holiday_country") }}'
)

select '{{ var("holiday_country") }}' as holiday_country
where
    not exists (select * from holidays)
    and exists (select * from {{ ref('dim_dates') }})
