{{ config(enabled=delivers('marketing_spend')) }}

with source as (
    select * from {{ source('shop', 'marketing_spend') }}
),

renamed as (
    select
        campaign_id,
        spend_date,
        channel,
        spend_amount,
        impressions,
        clicks,
        {{ version_rank(['campaign_id', 'spend_date']) }} as version_rank
    from source
),

final as (
    select
        campaign_id,
        spend_date,
        channel,
        spend_amount,
        impressions,
        clicks
    from renamed
    where version_rank = 1
)

select * from final
