{{ config(enabled=delivers('inventory')) }}

with orders as (
    select * from {{ ref('fct_orders') }}
),

products as (
    select * from {{ ref('int_products_current') }}
    where is_active
),

sales as (
    select * from {{ ref('agg_product_performance') }}
    where units > 0
),

-- The day after the last order, and not today: the same data always give the same status.
as_of as (
    select max(order_date) + 1 as as_of_date
    from orders
    having count(*) > 0
),

snapshots as (
    select
        *,
        row_number() over (partition by product_id order by snapshot_date desc) as recency
    from {{ ref('fct_inventory_daily') }}
),

demand as (
    select
        sales.product_id,
        max(sales.sales_date) as last_sold_date,
        cast(coalesce(
            sum(sales.units) filter (where sales.sales_date >= as_of.as_of_date - {{ var('inventory_demand_days') }}), 0
        ) as bigint) as recent_units
    from sales
    cross join as_of
    group by sales.product_id
),

measured as (
    select
        products.product_id,
        products.product_name,
        products.category,
        as_of.as_of_date,
        snapshots.snapshot_date,
        demand.last_sold_date,
        snapshots.quantity_on_hand,
        snapshots.stock_value_amount,
        coalesce(demand.recent_units, 0) as recent_units,
        {{ ratio('coalesce(demand.recent_units, 0)', var('inventory_demand_days')) }} as average_daily_units,
        {{ ratio('snapshots.quantity_on_hand * ' ~ var('inventory_demand_days'), 'demand.recent_units') }}
            as cover_days
    from products
    cross join as_of
    inner join snapshots
        on
        products.product_id = snapshots.product_id
        and snapshots.recency = 1
    left join demand on products.product_id = demand.product_id
),

final as (
    select
        product_id,
        product_name,
        category,
        as_of_date,
        snapshot_date,
        last_sold_date,
        quantity_on_hand,
        stock_value_amount,
        recent_units,
        average_daily_units,
        cover_days,
        case
            when quantity_on_hand = 0 then 'out_of_stock'
            when
                last_sold_date is null
                or as_of_date - last_sold_date > {{ var('inventory_slow_mover_days') }}
                then 'slow_mover'
            when cover_days < {{ var('inventory_low_cover_days') }} then 'low'
            when cover_days is null or cover_days > {{ var('inventory_overstock_cover_days') }} then 'overstock'
            else 'healthy'
        end as stock_status
    from measured
)

select * from final
