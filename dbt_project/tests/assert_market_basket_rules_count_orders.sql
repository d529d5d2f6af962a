{{ config(meta={'dagster': {'ref': {'name': 'market_basket_rules'}}}) }}

-- The orders of the strongest rules, counted again one by one, by another way than the model's.
with strongest as (
    select *
    from {{ ref('market_basket_rules') }}
    order by lift desc, antecedent_product_id asc, consequent_product_id asc
    limit 10
),

sizes as (
    select
        order_id,
        count(distinct product_id) as products_count
    from {{ ref('fct_order_items') }}
    where not is_cancelled
    group by order_id
),

holders as (
    select
        strongest.antecedent_product_id,
        strongest.consequent_product_id,
        strongest.orders_count,
        items.order_id
    from strongest
    inner join {{ ref('fct_order_items') }} as items
        on items.product_id in (strongest.antecedent_product_id, strongest.consequent_product_id)
    inner join sizes on items.order_id = sizes.order_id
    where sizes.products_count <= {{ var('market_basket_max_products') }}
    group by
        strongest.antecedent_product_id, strongest.consequent_product_id, strongest.orders_count, items.order_id
    having count(distinct items.product_id) = 2
)

select
    antecedent_product_id,
    consequent_product_id,
    orders_count,
    count(*) as counted
from holders
group by antecedent_product_id, consequent_product_id, orders_count
having count(*) <> orders_count
