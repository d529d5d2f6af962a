{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'agg_daily_sales'}}}) }}

-- What a day refunds is what was granted on it, but for cancelled orders; a product's refunds add up to the day's.
with refunds as (
    select
        refunds.refund_date as order_date,
        sum(refunds.amount) as refunded_amount,
        coalesce(sum(refunds.amount) filter (where refunds.product_id is not null), 0) as product_amount
    from {{ ref('fct_refunds') }} as refunds
    where
        refunds.order_id is null or refunds.order_id not in (
            select cancelled.order_id from {{ ref('fct_orders') }} as cancelled
            where cancelled.is_cancelled
        )
    group by refunds.refund_date
),

products as (
    select
        sales_date as order_date,
        sum(refunded_amount) as product_amount
    from {{ ref('agg_product_performance') }}
    group by sales_date
)

select
    coalesce(refunds.order_date, days.order_date) as order_date,
    refunds.refunded_amount,
    days.refunded_amount as days_refunded_amount,
    products.product_amount as products_refunded_amount
from refunds
full outer join {{ ref('agg_daily_sales') }} as days on refunds.order_date = days.order_date
left join products on days.order_date = products.order_date
where
    days.order_date is null
    or coalesce(refunds.refunded_amount, 0) <> days.refunded_amount
    or coalesce(refunds.product_amount, 0) <> coalesce(products.product_amount, 0)
