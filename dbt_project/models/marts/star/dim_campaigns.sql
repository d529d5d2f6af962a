{{ config(enabled=delivers('campaigns')) }}

with source as (
    select * from {{ ref('stg_shop__campaigns') }}
),

final as (
    select
        campaign_id,
        campaign_name,
        channel,
        objective,
        discount_pct,
        budget_amount,
        started_at,
        ended_at
    from source
)

select * from final
