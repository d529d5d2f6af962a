{{ config(meta={'dagster': {'ref': {'name': 'market_basket_rules'}}}) }}

-- A rule and its reverse speak of the same orders, and lift is confidence relative to the consequent's share of orders.
select
    rules.antecedent_product_id,
    rules.consequent_product_id
from {{ ref('market_basket_rules') }} as rules
left join {{ ref('market_basket_rules') }} as reverse
    on rules.antecedent_product_id = reverse.consequent_product_id
    and rules.consequent_product_id = reverse.antecedent_product_id
where
    rules.orders_count <> reverse.orders_count
    or rules.antecedent_orders_count <> reverse.consequent_orders_count
    or rules.lift <> reverse.lift
    -- Confidence has six decimals, so the product is off by half the last one at most.
    or abs(rules.confidence * rules.baskets_count - rules.lift * rules.consequent_orders_count)
    > 0.000001 * rules.baskets_count
