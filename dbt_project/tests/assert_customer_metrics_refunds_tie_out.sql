{{ config(enabled=delivers('refunds'), meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- A customer's refunds are those that were granted to them; no refund of a known customer is left out.
with refunds as (
    select
        customer_id,
        sum(amount) as refunded_amount
    from {{ ref('fct_refunds') }}
    where customer_id is not null
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
