{{ config(meta={'dagster': {'ref': {'name': 'customer_cohorts'}}}) }}

-- A cohort has every month from its own to the last of all, and its sums run on from month to month.
with months as (
    select
        cohort_month,
        months_since,
        activity_month,
        net_revenue_amount,
        cumulative_net_revenue_amount,
        row_number() over history as place,
        max(activity_month) over () as last_month,
        max(activity_month) over (partition by cohort_month) as cohorts_last_month,
        coalesce(lag(cumulative_net_revenue_amount) over history, 0) as cumulative_before
    from {{ ref('customer_cohorts') }}
    window history as (partition by cohort_month order by months_since)
)

select *
from months
where
    months_since <> place - 1
    or cohorts_last_month <> last_month
    or cumulative_net_revenue_amount <> cumulative_before + net_revenue_amount
