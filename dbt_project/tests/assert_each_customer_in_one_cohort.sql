{{ config(meta={'dagster': {'ref': {'name': 'customer_cohorts'}}}) }}

-- Each customer with an order that was not cancelled is in exactly one cohort: that of the first such order's month.
with first_orders as (
    select
        customer_id,
        cast(date_trunc('month', min(order_date)) as date) as cohort_month
    from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and not is_guest
    group by customer_id
),

expected as (
    select
        cohort_month,
        count(*) as cohort_size
    from first_orders
    group by cohort_month
)

select
    coalesce(expected.cohort_month, cohorts.cohort_month) as cohort_month,
    expected.cohort_size,
    cohorts.cohort_size as found_cohort_size
from expected
full outer join {{ ref('customer_cohorts') }} as cohorts on expected.cohort_month = cohorts.cohort_month
where expected.cohort_size is distinct from cohorts.cohort_size
