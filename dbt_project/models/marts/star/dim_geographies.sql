with customers as (
    select * from {{ ref('int_customers_versioned') }}
    where country is not null
),

orders as (
    select * from {{ ref('stg_shop__orders') }}
    where shipping_country is not null
),

-- An order names no region. Taken from the customers of the city, it is what is known of the place and no part of its
-- key, so that the key of an order hangs on the order alone.
known as (
    select
        country,
        nullif(city, '') as city,
        region
    from customers
    union all
    select
        shipping_country as country,
        nullif(shipping_city, '') as city,
        cast(null as varchar) as region
    from orders
),

places as (
    select
        country,
        city,
        case when count(distinct region) = 1 then min(region) end as region
    from known
    group by country, city
),

final as (
    select
        {{ geography_key('country', 'city') }} as geography_key,
        country,
        region,
        city
    from places
    union all
    select
        md5({{ unknown_geography() }}) as geography_key,
        cast(null as varchar) as country,
        cast(null as varchar) as region,
        cast(null as varchar) as city
)

select * from final
