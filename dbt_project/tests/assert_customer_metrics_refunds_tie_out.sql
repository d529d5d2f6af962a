{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- A customer's refunds are those that were granted to them, but for cancelled orders, which are no revenue; no other
-- refund of a known customer is left out.
with refunds as (
    select
        customer_id,
        sum(amount) as refunded_amount
    from {{ ref('fct_refunds') }}
    where
        customer_id is not null
        and (
            order_id is null or order_id not in (
                select cancelled.order_id from {{ ref('fct_orders') }} as cancelled
                where cancelled.is_cancelled
            )
        )
    group by customer_id
)

select
    coalesce(refunds.customer_id, metrics.customer_id) as customer_id,
    refunds.refunded_amount,
    metrics.refunded_amount as metrics_refunded_amount
from refunds
full outer join {{ ref('agg_customer_metrics') }} as metrics on refunds.customer_id = metrics.customer_id
where
    metrics.customer_id is null
    or coalesce(refunds.refunded_amount, 0) <> metrics.refunded_amount
