{{ config(enabled=delivers('campaigns')) }}

with source as (
    select * from {{ source('shop', 'campaigns') }}
),

renamed as (
    select
        campaign_id,
        started_at,
        ended_at,
        name as campaign_name,
        channel,
        objective,
        discount_pct,
        budget_amount,
        {{ version_rank(['campaign_id', 'started_at']) }} as version_rank
    from source
),

final as (
    select
        campaign_id,
        started_at,
        ended_at,
        campaign_name,
        channel,
        objective,
        discount_pct,
        budget_amount
    from renamed
    where version_rank = 1
)

select * from final
