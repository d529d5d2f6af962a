{{ config(enabled=delivers('events') or delivers('campaigns')) }}

with source as (
    select * from {{ ref('fct_orders') }}
    where not is_cancelled
),

final as (
    select
        order_id,
        customer_id,
        ordered_at,
        order_date,
        channel,
        campaign_id,
        total_amount as revenue_amount,
        case
            when customer_id is not null
                then row_number() over (partition by customer_id order by ordered_at, order_id) = 1
        end as is_new_customer
    from source
)

select * from final
