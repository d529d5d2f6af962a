{{ config(enabled=delivers('refunds')) }}

with refunds as (
    select * from {{ ref('stg_shop__refunds') }}
    where order_id is not null
),

final as (
    select
        order_id,
        max(refunded_at) as last_refunded_at,
        count(*) as refunds_count,
        cast(sum(quantity) as bigint) as refunded_units,
        cast(sum(amount) as decimal(18, 2)) as refunded_amount
    from refunds
    group by order_id
)

select * from final
