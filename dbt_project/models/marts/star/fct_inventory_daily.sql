{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='snapshot_date',
    on_schema_change='fail',
    enabled=delivers('inventory')
) }}

-- Stock is counted at the end of the day, so the version is the one that held in its last moment.
with snapshots as (
    select
        *,
        cast(snapshot_date + 1 as timestamp) at time zone 'UTC' - interval '1 microsecond' as counted_at
    from {{ ref('stg_shop__inventory') }}
    where {{ in_window('snapshot_date') }}
),

lines as (
    select * from {{ ref('fct_order_items') }}
    where
        not is_cancelled
        and {{ in_window('order_date') }}
),

sold as (
    select
        product_id,
        order_date,
        cast(sum(quantity) as bigint) as units_sold
    from lines
    group by product_id, order_date
),

products as (
    select
        product_key,
        product_id,
        unit_cost,
        valid_from,
        valid_to
    from {{ ref('dim_products') }}
),

final as (
    select
        snapshots.product_id,
        snapshots.snapshot_date,
        products.product_key,
        snapshots.quantity_on_hand,
        snapshots.quantity_received,
        coalesce(sold.units_sold, 0) as units_sold,
        cast(round(snapshots.quantity_on_hand * products.unit_cost, 2) as decimal(18, 2)) as stock_value_amount
    from snapshots
    left join sold
        on
        snapshots.product_id = sold.product_id
        and snapshots.snapshot_date = sold.order_date
    {{ asof_join('snapshots', 'products', 'product_id', 'counted_at') }}
)

select * from final
