{{ config(meta={'dagster': {'ref': {'name': 'fct_order_items'}}}) }}

-- Each row of the run's window finds exactly one version of its product, and its key is that version's.
select
    facts.order_item_key,
    count(versions.product_key) as version_count
from {{ ref('fct_order_items') }} as facts
left join {{ ref('dim_products') }} as versions
    on facts.product_id = versions.product_id
    and facts.ordered_at >= versions.valid_from
    and facts.ordered_at < versions.valid_to
where {{ in_window('facts.ordered_at') }}
group by facts.order_item_key, facts.product_key
having
    count(versions.product_key) <> 1
    or min(versions.product_key) <> facts.product_key
