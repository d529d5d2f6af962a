{{ config(meta={'dagster': {'ref': {'name': 'fct_orders'}}}) }}

-- Each row of the run's window finds exactly one version of its customer, and its key is that version's.
select
    facts.order_id,
    count(versions.customer_key) as version_count
from {{ ref('fct_orders') }} as facts
left join {{ ref('dim_customers') }} as versions
    on coalesce(facts.customer_id, {{ guest_id() }}) = versions.customer_id
    and facts.ordered_at >= versions.valid_from
    and facts.ordered_at < versions.valid_to
where {{ in_window('facts.ordered_at') }}
group by facts.order_id, facts.customer_key
having
    count(versions.customer_key) <> 1
    or min(versions.customer_key) <> facts.customer_key
