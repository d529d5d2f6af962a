{{ config(meta={'dagster': {'ref': {'name': 'agg_customer_metrics'}}}) }}

-- A customer's costs and margin are those of the order lines that were not cancelled.
with lines as (
    select
        customer_id,
        sum(cost_amount) as cost_amount,
        sum(case when cost_amount is not null then net_amount end) as costed_amount
    from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and customer_id is not null
    group by customer_id
)

select
    coalesce(lines.customer_id, metrics.customer_id) as customer_id,
    lines.cost_amount,
    metrics.cost_amount as metrics_cost_amount
from lines
full outer join {{ ref('agg_customer_metrics') }} as metrics on lines.customer_id = metrics.customer_id
where
    lines.cost_amount is distinct from metrics.cost_amount
    or lines.costed_amount - lines.cost_amount is distinct from metrics.margin_amount
