{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'payment_mix'}}}) }}

-- What the methods captured in a month is what its days captured; shares of a month add up to 1 but for rounding.
with methods as (
    select
        month_start_date,
        sum(captured_amount) as captured_amount,
        sum(cast(captured_share as decimal(18, 6))) as captured_share
    from {{ ref('payment_mix') }}
    group by month_start_date
),

days as (
    select
        cast(date_trunc('month', order_date) as date) as month_start_date,
        sum(captured_amount) as captured_amount
    from {{ ref('agg_daily_sales') }}
    group by cast(date_trunc('month', order_date) as date)
)

select
    coalesce(methods.month_start_date, days.month_start_date) as month_start_date,
    methods.captured_amount,
    days.captured_amount as days_captured_amount,
    methods.captured_share
from methods
full outer join days on methods.month_start_date = days.month_start_date
where
    coalesce(methods.captured_amount, 0) <> coalesce(days.captured_amount, 0)
    or abs(methods.captured_share - 1) > 0.0001
