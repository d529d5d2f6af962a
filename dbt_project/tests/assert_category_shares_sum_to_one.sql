{{ config(meta={'dagster': {'ref': {'name': 'category_affinity'}}}) }}

-- A customer's shares sum to 1 (but for rounding to six decimals), and ranks run from 1 without a gap.
select
    customer_id,
    sum(spend_share) as spend_share,
    max(affinity_rank) as last_rank
from {{ ref('category_affinity') }}
group by customer_id
having
    abs(sum(spend_share) - 1) > 0.000001 * count(*)
    or max(affinity_rank) <> count(*)
