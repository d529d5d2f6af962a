{{ config(enabled=delivers('payments')) }}

with payments as (
    select * from {{ ref('stg_shop__payments') }}
),

methods as (
    select
        payment_method,
        replace(payment_method, '_', ' ') as spelled,
        min(paid_at) as first_seen_at,
        max(paid_at) as last_seen_at
    from payments
    group by payment_method
),

final as (
    select
        md5(payment_method) as payment_method_key,
        payment_method,
        upper(substr(spelled, 1, 1)) || substr(spelled, 2) as payment_method_name,
        first_seen_at,
        last_seen_at
    from methods
)

select * from final
