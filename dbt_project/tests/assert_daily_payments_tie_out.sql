{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'agg_daily_sales'}}}) }}

-- What a day captured is the sum of that day's captured payments, as staged.
with payments as (
    select
        {{ utc_date('paid_at') }} as order_date,
        sum(amount) as captured_amount
    from {{ ref('stg_shop__payments') }}
    where
        payment_status = 'captured'
        and {{ in_window('paid_at') }}
    group by {{ utc_date('paid_at') }}
),

days as (
    select * from {{ ref('agg_daily_sales') }}
    where {{ in_window('order_date') }}
)

select
    coalesce(payments.order_date, days.order_date) as order_date,
    payments.captured_amount,
    days.captured_amount as days_captured_amount
from payments
full outer join days on payments.order_date = days.order_date
where coalesce(payments.captured_amount, 0) <> coalesce(days.captured_amount, 0)
