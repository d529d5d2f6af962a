-- What keeps this fast: a pair is at most as frequent as its rarer product, so rare products go before lines are paired
-- (what is left are at most products per order / minimum support), and orders with very many products go too (their
-- pairs grow with the square). So the pairs that are counted grow with the lines, by a factor of at most half the var
-- market_basket_max_products, and those that are kept are bounded by the minimum support whatever the shop's size.
with lines as (
    select * from {{ ref('fct_order_items') }}
    where not is_cancelled
),

products as (
    select
        product_id,
        product_name
    from {{ ref('dim_products') }}
    where is_current
),

contents as (
    select distinct
        order_id,
        product_id
    from lines
),

sizes as (
    select
        order_id,
        count(*) as products_count
    from contents
    group by order_id
),

-- Few or none: joining what is left out takes a quarter of the time of joining what stays.
oversized as (
    select order_id
    from sizes
    where products_count > {{ var('market_basket_max_products') }}
),

baskets as (
    select contents.*
    from contents
    left join oversized on contents.order_id = oversized.order_id
    where oversized.order_id is null
),

shop as (
    select count(*) as baskets_count
    from sizes
    where products_count <= {{ var('market_basket_max_products') }}
),

frequent as (
    select
        baskets.product_id,
        count(*) as orders_count
    from baskets
    cross join shop
    group by baskets.product_id, shop.baskets_count
    having
        count(*) >= {{ var('market_basket_min_support') }} * shop.baskets_count
        and count(*) >= {{ var('market_basket_min_orders') }}
),

candidates as (
    select baskets.*
    from baskets
    inner join frequent on baskets.product_id = frequent.product_id
),

pairs as (
    select
        candidates.product_id as first_product_id,
        others.product_id as second_product_id,
        count(*) as orders_count
    from candidates
    inner join candidates as others
        on candidates.order_id = others.order_id
        and candidates.product_id < others.product_id
    group by candidates.product_id, others.product_id
    having count(*) >= {{ var('market_basket_min_orders') }}
),

directed as (
    select
        first_product_id as antecedent_product_id,
        second_product_id as consequent_product_id,
        orders_count
    from pairs
    union all
    select
        second_product_id as antecedent_product_id,
        first_product_id as consequent_product_id,
        orders_count
    from pairs
),

final as (
    select
        directed.antecedent_product_id,
        directed.consequent_product_id,
        antecedent_names.product_name as antecedent_product_name,
        consequent_names.product_name as consequent_product_name,
        directed.orders_count,
        antecedents.orders_count as antecedent_orders_count,
        consequents.orders_count as consequent_orders_count,
        shop.baskets_count,
        {{ ratio('directed.orders_count', 'shop.baskets_count') }} as support,
        {{ ratio('directed.orders_count', 'antecedents.orders_count') }} as confidence,
        {{ ratio(
            'directed.orders_count * shop.baskets_count',
            'antecedents.orders_count * consequents.orders_count'
        ) }} as lift
    from directed
    cross join shop
    inner join frequent as antecedents on directed.antecedent_product_id = antecedents.product_id
    inner join frequent as consequents on directed.consequent_product_id = consequents.product_id
    left join products as antecedent_names on directed.antecedent_product_id = antecedent_names.product_id
    left join products as consequent_names on directed.consequent_product_id = consequent_names.product_id
    where
        directed.orders_count >= {{ var('market_basket_min_support') }} * shop.baskets_count
        and directed.orders_count >= {{ var('market_basket_min_confidence') }} * antecedents.orders_count
)

select * from final
