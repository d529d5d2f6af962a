{{ config(meta={'dagster': {'ref': {'name': 'customer_lifetime_value'}}}) }}

-- Lifetime value, metrics and segments have the same customers with orders, and the same net revenue
-- for each; lifetime value has their revenue, refunds and margin, too.
with metrics as (
    select * from {{ ref('agg_customer_metrics') }}
    where orders_count > 0
)

select
    coalesce(metrics.customer_id, lifetimes.customer_id, segments.customer_id) as customer_id,
    metrics.net_revenue_amount,
    lifetimes.lifetime_value_amount,
    segments.monetary_amount
from metrics
full outer join {{ ref('customer_lifetime_value') }} as lifetimes on metrics.customer_id = lifetimes.customer_id
full outer join {{ ref('rfm_segments') }} as segments
    on coalesce(metrics.customer_id, lifetimes.customer_id) = segments.customer_id
where
    metrics.net_revenue_amount is distinct from lifetimes.lifetime_value_amount
    or metrics.net_revenue_amount is distinct from segments.monetary_amount
    or metrics.revenue_amount is distinct from lifetimes.revenue_amount
    or metrics.refunded_amount is distinct from lifetimes.refunded_amount
    or metrics.margin_amount - metrics.refunded_amount is distinct from lifetimes.lifetime_margin_amount
    or metrics.orders_count is distinct from lifetimes.orders_count
    or metrics.orders_count is distinct from segments.frequency
