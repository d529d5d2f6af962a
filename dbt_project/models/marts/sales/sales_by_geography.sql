with orders as (
    select * from {{ ref('int_orders_settled') }}
    where not is_cancelled
),

geographies as (
    select * from {{ ref('dim_geographies') }}
),

summed as (
    select
        month_start_date,
        geography_key,
        count(*) as orders_count,
        count(distinct customer_id) as customers_count,
        cast(sum(item_quantity) as bigint) as units,
        cast(sum(gross_amount) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount,
        cast(sum(shipping_amount) as decimal(18, 2)) as shipping_amount,
        cast(sum(total_amount) as decimal(18, 2)) as revenue_amount,
        cast(sum(refunded_amount) as decimal(18, 2)) as refunded_amount,
        cast(sum(net_revenue_amount) as decimal(18, 2)) as net_revenue_amount
    from orders
    group by month_start_date, geography_key
),

final as (
    select
        summed.month_start_date,
        summed.geography_key,
        geographies.country,
        geographies.region,
        geographies.city,
        summed.orders_count,
        summed.customers_count,
        summed.units,
        summed.gross_amount,
        summed.discount_amount,
        summed.shipping_amount,
        summed.revenue_amount,
        summed.refunded_amount,
        summed.net_revenue_amount,
        {{ ratio('summed.revenue_amount', 'summed.orders_count') }} as average_order_value
    from summed
    left join geographies on summed.geography_key = geographies.geography_key
)

select * from final
