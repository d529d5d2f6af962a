{{ config(enabled=delivers('inventory'), meta={'dagster': {'ref': {'name': 'fct_inventory_daily'}}}) }}

-- Each row of the run's window has the version of its product that held last on its day.
select
    facts.product_id,
    facts.snapshot_date,
    count(versions.product_key) as version_count
from {{ ref('fct_inventory_daily') }} as facts
left join {{ ref('dim_products') }} as versions
    on
    facts.product_id = versions.product_id
    and facts.snapshot_date >= {{ utc_date('versions.valid_from') }}
    and facts.snapshot_date < {{ utc_date('versions.valid_to') }}
where {{ in_window('facts.snapshot_date') }}
group by facts.product_id, facts.snapshot_date, facts.product_key
having
    count(versions.product_key) <> 1
    or min(versions.product_key) <> facts.product_key
