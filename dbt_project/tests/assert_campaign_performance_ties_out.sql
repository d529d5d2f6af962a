{{ config(enabled=delivers('campaigns'), meta={'dagster': {'ref': {'name': 'campaign_performance'}}}) }}

-- Each campaign has the orders that name it, not cancelled, and their revenue.
with orders as (
    select
        campaign_id,
        count(*) as orders_count,
        sum(total_amount) as revenue_amount
    from {{ ref('fct_orders') }}
    where not is_cancelled
    group by campaign_id
)

select
    campaigns.campaign_id,
    campaigns.orders_count,
    orders.orders_count as found_orders_count
from {{ ref('campaign_performance') }} as campaigns
left join orders on campaigns.campaign_id = orders.campaign_id
where
    campaigns.orders_count <> coalesce(orders.orders_count, 0)
    or campaigns.revenue_amount <> coalesce(orders.revenue_amount, 0)
    or campaigns.new_customers_count > campaigns.orders_count
