{{ config(meta={'dagster': {'ref': {'name': 'stg_shop__orders'}}}) }}

-- No version of an order in the lake is later than the one that the facts have.
select
    versions.order_id,
    versions.updated_at,
    orders.updated_at as used_updated_at
from {{ source('shop', 'orders') }} as versions
inner join {{ ref('stg_shop__orders') }} as orders on versions.order_id = orders.order_id
where versions.updated_at > orders.updated_at
