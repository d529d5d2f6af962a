{{ config(enabled=delivers('payments')) }}

with payments as (
    select * from {{ ref('stg_shop__payments') }}
),

final as (
    select
        order_id,
        max(paid_at) filter (where payment_status = 'captured') as last_captured_at,
        count(*) as attempts_count,
        count(*) filter (where payment_status = 'captured') as captured_count,
        count(*) filter (where payment_status = 'declined') as declined_count,
        cast(coalesce(sum(amount) filter (where payment_status = 'captured'), 0) as decimal(18, 2)) as captured_amount
    from payments
    group by order_id
)

select * from final
