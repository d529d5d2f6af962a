{{ config(meta={'dagster': {'ref': {'name': 'dim_dates'}}}) }}

{%- set start = var('fiscal_year_start_month') | int %}
{%- set end = (start + 10) % 12 + 1 %}

-- The fiscal year begins in the month of the dbt var `fiscal_year_start_month`, and is named after the calendar year in
-- which it ends: so many months after each of its days is its last month.
select
    date_day,
    fiscal_year,
    fiscal_month
from {{ ref('dim_dates') }}
where
    (fiscal_month = 1) <> (calendar_month = {{ start }})
    or 12 * calendar_year + calendar_month + 12 - fiscal_month <> 12 * fiscal_year + {{ end }}
