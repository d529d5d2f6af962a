{{ config(enabled=delivers('campaigns'), meta={'dagster': {'ref': {'name': 'campaign_performance'}}}) }}

-- Each campaign has the orders that name it, not cancelled, and their revenue, less what was refunded of it.
with orders as (
    select
        orders.campaign_id,
        count(*) as orders_count,
        sum(orders.total_amount) as revenue_amount,
        sum(settled.net_revenue_amount) as net_revenue_amount
    from {{ ref('fct_orders') }} as orders
    inner join {{ ref('int_orders_settled') }} as settled on orders.order_id = settled.order_id
    where not orders.is_cancelled
    group by orders.campaign_id
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
    or campaigns.net_revenue_amount <> coalesce(orders.net_revenue_amount, 0)
    or campaigns.net_revenue_amount <> campaigns.revenue_amount - campaigns.refund_amount
    or campaigns.new_customers_count > campaigns.orders_count
