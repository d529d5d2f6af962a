{{ config(
    enabled=delivers('campaigns') and delivers('marketing_spend'),
    meta={'dagster': {'ref': {'name': 'campaign_performance'}}}
) }}

-- What was spent is spent on a campaign: nothing is left over.
with spent as (
    select
        campaign_id,
        sum(spend_amount) as spend_amount,
        sum(impressions) as impressions,
        sum(clicks) as clicks
    from {{ ref('fct_marketing_spend') }}
    group by campaign_id
)

select
    coalesce(spent.campaign_id, campaigns.campaign_id) as campaign_id,
    spent.spend_amount,
    campaigns.spend_amount as campaigns_spend_amount
from spent
full outer join {{ ref('campaign_performance') }} as campaigns on spent.campaign_id = campaigns.campaign_id
where
    coalesce(spent.spend_amount, 0) is distinct from campaigns.spend_amount
    or coalesce(spent.impressions, 0) is distinct from campaigns.impressions
    or coalesce(spent.clicks, 0) is distinct from campaigns.clicks
