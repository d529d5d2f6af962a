{{ config(enabled=delivers('payments')) }}

with payments as (
    select * from {{ ref('fct_payments') }}
),

methods as (
    select * from {{ ref('dim_payment_methods') }}
),

summed as (
    select
        cast(date_trunc('month', payment_date) as date) as month_start_date,
        payment_method_key,
        count(*) as attempts_count,
        count(*) filter (where is_captured) as captured_count,
        count(*) filter (where not is_captured) as declined_count,
        cast(coalesce(sum(amount) filter (where is_captured), 0) as decimal(18, 2)) as captured_amount,
        cast(coalesce(sum(amount) filter (where not is_captured), 0) as decimal(18, 2)) as declined_amount
    from payments
    group by cast(date_trunc('month', payment_date) as date), payment_method_key
),

final as (
    select
        summed.month_start_date,
        summed.payment_method_key,
        methods.payment_method,
        summed.attempts_count,
        summed.captured_count,
        summed.declined_count,
        summed.captured_amount,
        summed.declined_amount,
        {{ ratio('summed.declined_count', 'summed.attempts_count') }} as decline_rate,
        {{ ratio(
            'summed.captured_amount',
            'sum(summed.captured_amount) over (partition by summed.month_start_date)'
        ) }} as captured_share
    from summed
    left join methods on summed.payment_method_key = methods.payment_method_key
)

select * from final
