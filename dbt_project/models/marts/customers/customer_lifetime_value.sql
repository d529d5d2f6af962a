{%- set bounds = var('lifetime_value_band_percent_ranks') -%}

with customers as (
    select * from {{ ref('int_customers_summed') }}
    where orders_count > 0
),

-- A shop of one customer has no others to be ranked among: its customer ranks 0.
ranked as (
    select
        *,
        rank() over (order by net_revenue_amount) - 1 as customers_below,
        count(*) over () - 1 as customers_besides
    from customers
),

measured as (
    select
        *,
        coalesce({{ ratio('customers_below', 'customers_besides') }}, 0) as value_percent_rank
    from ranked
),

final as (
    select
        customer_id,
        as_of_date,
        first_order_date,
        cast(date_trunc('month', first_order_date) as date) as first_order_month,
        first_channel as first_order_channel,
        case
            when value_percent_rank >= {{ bounds[2] }} then 'top'
            when value_percent_rank >= {{ bounds[1] }} then 'high'
            when value_percent_rank >= {{ bounds[0] }} then 'medium'
            else 'low'
        end as value_band,
        cast(as_of_date - first_order_date as bigint) as tenure_days,
        active_months,
        orders_count,
        revenue_amount,
        refunded_amount,
        net_revenue_amount as lifetime_value_amount,
        cast(margin_amount - refunded_amount as decimal(18, 2)) as lifetime_margin_amount,
        {{ ratio('revenue_amount', 'active_months') }} as revenue_per_active_month,
        value_percent_rank
    from measured
)

select * from final
