with customers as (
    select * from {{ ref('int_customers_summed') }}
    where orders_count > 0
),

measured as (
    select
        customer_id,
        as_of_date,
        cast(as_of_date - last_order_date as bigint) as recency_days,
        orders_count as frequency,
        net_revenue_amount as monetary_amount
    from customers
),

scored as (
    select
        *,
        cast({{ banded_score('recency_days', var('rfm_recency_days'), falling=true) }} as bigint) as recency_score,
        cast({{ banded_score('frequency', var('rfm_frequency_orders')) }} as bigint) as frequency_score,
        cast({{ banded_score('monetary_amount', var('rfm_monetary_amount')) }} as bigint) as monetary_score
    from measured
),

final as (
    select
        customer_id,
        as_of_date,
        recency_days,
        frequency,
        monetary_amount,
        recency_score,
        frequency_score,
        monetary_score,
        cast(recency_score as varchar) || cast(frequency_score as varchar) || cast(monetary_score as varchar)
            as rfm_score,
        case
            when recency_score >= 4 and frequency_score >= 4 and monetary_score >= 4 then 'champions'
            when recency_score >= 3 and frequency_score >= 3 then 'loyal'
            when recency_score >= 4 and frequency_score >= 2 then 'promising'
            when recency_score >= 4 then 'new'
            when recency_score = 3 then 'needs_attention'
            when frequency_score >= 4 or monetary_score = 5 then 'cannot_lose'
            when frequency_score >= 2 then 'at_risk'
            else 'hibernating'
        end as segment
    from scored
)

select * from final
