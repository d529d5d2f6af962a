with as_of as (
    select max(as_of_date) as as_of_date
    from {{ ref('int_customers_summed') }}
    having count(*) > 0
),

lines as (
    select * from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and customer_id is not null
),

views as (
    {% if delivers('events') %}
    select
        customer_id,
        product_id,
        event_type,
        event_date
    from {{ ref('fct_events') }}
    where
        customer_id is not null
        and product_id is not null
        and event_type in ('product_view', 'add_to_cart')
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(null as varchar) as product_id,
        cast(null as varchar) as event_type,
        cast(null as date) as event_date
    where false
    {% endif %}
),

-- An order may hold a product in several lines, but it is bought once.
purchases as (
    select
        customer_id,
        product_id,
        order_date,
        order_id,
        sum(quantity) as units
    from lines
    group by customer_id, product_id, order_date, order_id
),

interactions as (
    select
        customer_id,
        product_id,
        event_date as interaction_date,
        case when event_type = 'product_view' then 1 else 0 end as is_view,
        case when event_type = 'add_to_cart' then 1 else 0 end as is_cart,
        0 as is_purchase,
        0 as units
    from views
    union all
    select
        customer_id,
        product_id,
        order_date as interaction_date,
        0 as is_view,
        0 as is_cart,
        1 as is_purchase,
        units
    from purchases
),

recent as (
    select
        interactions.*,
        as_of.as_of_date,
        as_of.as_of_date - interactions.interaction_date as days_ago
    from interactions
    inner join as_of
        on interactions.interaction_date < as_of.as_of_date
        and interactions.interaction_date >= as_of.as_of_date - 90
),

final as (
    select
        customer_id,
        product_id,
        as_of_date,
        max(interaction_date) as last_interaction_date,
        cast(sum(case when days_ago <= 7 then is_view else 0 end) as bigint) as views_7d,
        cast(sum(case when days_ago <= 30 then is_view else 0 end) as bigint) as views_30d,
        cast(sum(is_view) as bigint) as views_90d,
        cast(sum(case when days_ago <= 7 then is_cart else 0 end) as bigint) as carts_7d,
        cast(sum(case when days_ago <= 30 then is_cart else 0 end) as bigint) as carts_30d,
        cast(sum(is_cart) as bigint) as carts_90d,
        cast(sum(case when days_ago <= 7 then is_purchase else 0 end) as bigint) as purchases_7d,
        cast(sum(case when days_ago <= 30 then is_purchase else 0 end) as bigint) as purchases_30d,
        cast(sum(is_purchase) as bigint) as purchases_90d,
        cast(sum(units) as bigint) as units_90d
    from recent
    group by customer_id, product_id, as_of_date
)

select * from final
