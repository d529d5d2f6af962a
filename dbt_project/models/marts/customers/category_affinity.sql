{%- set prior -%} cast({{ var('category_affinity_prior_amount') }} as decimal(18, 2)) {%- endset -%}

with lines as (
    select * from {{ ref('fct_order_items') }}
    where not is_cancelled
),

products as (
    select
        product_key,
        category
    from {{ ref('dim_products') }}
    where category is not null
),

spent as (
    select
        lines.customer_id,
        products.category,
        count(distinct lines.order_id) as orders_count,
        cast(sum(lines.quantity) as bigint) as units,
        cast(sum(lines.net_amount) as decimal(18, 2)) as spend_amount
    from lines
    inner join products on lines.product_key = products.product_key
    group by lines.customer_id, products.category
),

-- All of the shop, guests too; who they are does not matter here.
categories as (
    select
        category,
        cast(sum(spend_amount) as decimal(18, 2)) as shop_category_amount
    from spent
    group by category
),

shop as (
    select cast(sum(shop_category_amount) as decimal(18, 2)) as shop_amount
    from categories
),

compared as (
    select
        spent.*,
        categories.shop_category_amount,
        shop.shop_amount,
        cast(sum(spent.spend_amount) over (partition by spent.customer_id) as decimal(18, 2)) as customer_amount
    from spent
    inner join categories on spent.category = categories.category
    cross join shop
    where spent.customer_id is not null
),

measured as (
    select
        *,
        {{ ratio('spend_amount', 'customer_amount') }} as spend_share,
        {{ ratio('shop_category_amount', 'shop_amount') }} as shop_share,
        -- (spend + prior * shop's share) / (customer's spend + prior) / shop's share, as one division
        {{ ratio(
            'spend_amount * shop_amount + ' ~ prior ~ ' * shop_category_amount',
            '(customer_amount + ' ~ prior ~ ') * shop_category_amount'
        ) }} as lift
    from compared
),

final as (
    select
        customer_id,
        category,
        orders_count,
        units,
        spend_amount,
        spend_share,
        shop_share,
        lift,
        row_number() over (
            partition by customer_id
            order by spend_amount desc, orders_count desc, category asc
        ) as affinity_rank
    from measured
)

select * from final
