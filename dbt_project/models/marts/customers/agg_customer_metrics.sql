{%- set recency = var('customer_recency_band_days') -%}
{%- set frequency = var('customer_frequency_band_orders') -%}
{%- set value = var('customer_value_band_amount') -%}

with customers as (
    select * from {{ ref('int_customers_summed') }}
),

reviews as (
    {% if delivers('reviews') %}
    select
        customer_id,
        count(*) as reviews_count,
        sum(rating) as rating_sum
    from {{ ref('fct_reviews') }}
    where customer_id is not null
    group by customer_id
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(null as bigint) as reviews_count,
        cast(null as bigint) as rating_sum
    where false
    {% endif %}
),

-- E-mail events are what the shop did, not the customer's visits.
visits as (
    {% if delivers('events') %}
    select
        customer_id,
        max(event_date) as last_visit_date,
        count(distinct event_date) as visit_days,
        count(*) as events_count,
        count(*) filter (where event_type = 'product_view') as product_views_count,
        count(*) filter (where event_type = 'add_to_cart') as cart_additions_count
    from {{ ref('fct_events') }}
    where
        customer_id is not null
        and event_type not in ('email_sent', 'email_open', 'email_click')
    group by customer_id
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(null as date) as last_visit_date,
        cast(null as bigint) as visit_days,
        cast(null as bigint) as events_count,
        cast(null as bigint) as product_views_count,
        cast(null as bigint) as cart_additions_count
    where false
    {% endif %}
),

measured as (
    select
        customers.*,
        cast(customers.as_of_date - customers.last_order_date as bigint) as recency_days,
        {{ ratio('customers.last_order_date - customers.first_order_date', 'customers.orders_count - 1') }}
            as mean_days_between_orders,
        {{ ratio('customers.revenue_amount', 'customers.orders_count') }} as average_order_value,
        {{ ratio('customers.discount_amount', 'customers.gross_amount') }} as discount_share,
        {{ ratio('customers.refunded_amount', 'customers.revenue_amount') }} as return_rate,
        {{ ratio('reviews.rating_sum', 'reviews.reviews_count') }} as mean_rating,
        visits.last_visit_date,
        -- Without the dataset nobody knows; with it, a customer who is not in it has none.
        coalesce(reviews.reviews_count, {{ '0' if delivers('reviews') else 'null' }}) as reviews_count,
        coalesce(visits.visit_days, {{ '0' if delivers('events') else 'null' }}) as visit_days,
        coalesce(visits.events_count, {{ '0' if delivers('events') else 'null' }}) as events_count,
        coalesce(visits.product_views_count, {{ '0' if delivers('events') else 'null' }}) as product_views_count,
        coalesce(visits.cart_additions_count, {{ '0' if delivers('events') else 'null' }}) as cart_additions_count
    from customers
    left join reviews on customers.customer_id = reviews.customer_id
    left join visits on customers.customer_id = visits.customer_id
),

final as (
    select
        customer_id,
        as_of_date,
        first_order_date,
        last_order_date,
        last_visit_date,
        case
            when orders_count = 0 then 'no_order'
            when recency_days <= {{ recency[0] }} then 'active'
            when recency_days <= {{ recency[1] }} then 'cooling'
            when recency_days <= {{ recency[2] }} then 'dormant'
            else 'lost'
        end as recency_band,
        case
            when orders_count = 0 then 'no_order'
            when orders_count >= {{ frequency[1] }} then 'frequent'
            when orders_count >= {{ frequency[0] }} then 'repeat'
            else 'one_time'
        end as frequency_band,
        case
            when orders_count = 0 then 'no_order'
            when net_revenue_amount >= {{ value[1] }} then 'high'
            when net_revenue_amount >= {{ value[0] }} then 'medium'
            else 'low'
        end as value_band,
        recency_days,
        mean_days_between_orders,
        orders_count,
        cancelled_orders_count,
        units,
        products_count,
        categories_count,
        gross_amount,
        discount_amount,
        shipping_amount,
        revenue_amount,
        refunded_amount,
        net_revenue_amount,
        cost_amount,
        margin_amount,
        average_order_value,
        discount_share,
        return_rate,
        reviews_count,
        mean_rating,
        visit_days,
        events_count,
        product_views_count,
        cart_additions_count
    from measured
)

select * from final
