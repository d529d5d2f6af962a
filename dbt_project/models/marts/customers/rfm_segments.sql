with orders as (
    select * from {{ ref('fct_orders') }}
),

-- The day after the last order, and not today: the same orders always give the same segments.
as_of as (
    select max(order_date) + 1 as as_of_date
    from orders
),

purchases as (
    select
        customer_id,
        max(order_date) as last_order_date,
        count(*) as frequency,
        sum(total_amount) as ordered_amount
    from orders
    where
        not is_cancelled
        and not is_guest
    group by customer_id
),

returns as (
    {% if delivers('refunds') %}
    select
        customer_id,
        sum(amount) as refunded_amount
    from {{ ref('fct_refunds') }}
    where customer_id is not null
    group by customer_id
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(0 as decimal(18, 2)) as refunded_amount
    where false
    {% endif %}
),

measured as (
    select
        purchases.customer_id,
        as_of.as_of_date,
        cast(as_of.as_of_date - purchases.last_order_date as bigint) as recency_days,
        purchases.frequency,
        cast(purchases.ordered_amount - coalesce(returns.refunded_amount, 0) as decimal(18, 2)) as monetary_amount
    from purchases
    cross join as_of
    left join returns on purchases.customer_id = returns.customer_id
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
