{{ config(enabled=delivers('campaigns')) }}

with campaigns as (
    select * from {{ ref('dim_campaigns') }}
),

spent as (
    {% if delivers('marketing_spend') %}
    select
        campaign_id,
        sum(spend_amount) as spend_amount,
        sum(impressions) as impressions,
        sum(clicks) as clicks
    from {{ ref('fct_marketing_spend') }}
    group by campaign_id
    {% else %}
    select
        cast(null as varchar) as campaign_id,
        cast(0 as decimal(18, 2)) as spend_amount,
        cast(0 as bigint) as impressions,
        cast(0 as bigint) as clicks
    where false
    {% endif %}
),

visited as (
    {% if delivers('events') %}
    select
        campaign_id,
        count(*) as sessions_count
    from {{ ref('fct_sessions') }}
    where campaign_id is not null
    group by campaign_id
    {% else %}
    select
        cast(null as varchar) as campaign_id,
        cast(0 as bigint) as sessions_count
    where false
    {% endif %}
),

refunded as (
    {% if delivers('refunds') %}
    select
        order_id,
        sum(amount) as refund_amount
    from {{ ref('fct_refunds') }}
    where order_id is not null
    group by order_id
    {% else %}
    select
        cast(null as varchar) as order_id,
        cast(0 as decimal(18, 2)) as refund_amount
    where false
    {% endif %}
),

sold as (
    select
        orders.campaign_id,
        count(*) as orders_count,
        count(*) filter (where orders.is_new_customer) as new_customers_count,
        sum(orders.revenue_amount) as revenue_amount,
        sum(coalesce(refunded.refund_amount, 0)) as refund_amount
    from {{ ref('int_orders_ranked') }} as orders
    left join refunded on orders.order_id = refunded.order_id
    where orders.campaign_id is not null
    group by orders.campaign_id
),

summed as (
    select
        campaigns.campaign_id,
        campaigns.campaign_name,
        campaigns.channel,
        campaigns.objective,
        campaigns.started_at,
        campaigns.ended_at,
        cast(coalesce(spent.spend_amount, 0) as decimal(18, 2)) as spend_amount,
        cast(coalesce(spent.impressions, 0) as bigint) as impressions,
        cast(coalesce(spent.clicks, 0) as bigint) as clicks,
        coalesce(visited.sessions_count, 0) as sessions_count,
        coalesce(sold.orders_count, 0) as orders_count,
        coalesce(sold.new_customers_count, 0) as new_customers_count,
        cast(coalesce(sold.revenue_amount, 0) as decimal(18, 2)) as revenue_amount,
        cast(coalesce(sold.refund_amount, 0) as decimal(18, 2)) as refund_amount,
        cast(coalesce(sold.revenue_amount, 0) - coalesce(sold.refund_amount, 0) as decimal(18, 2))
            as net_revenue_amount
    from campaigns
    left join spent on campaigns.campaign_id = spent.campaign_id
    left join visited on campaigns.campaign_id = visited.campaign_id
    left join sold on campaigns.campaign_id = sold.campaign_id
),

final as (
    select
        campaign_id,
        campaign_name,
        channel,
        objective,
        started_at,
        ended_at,
        spend_amount,
        impressions,
        clicks,
        sessions_count,
        orders_count,
        new_customers_count,
        revenue_amount,
        refund_amount,
        net_revenue_amount,
        {{ ratio('clicks', 'impressions') }} as click_through_rate,
        {{ ratio('orders_count', 'sessions_count') }} as conversion_rate,
        {{ ratio('spend_amount', 'clicks') }} as cost_per_click,
        {{ ratio('spend_amount', 'orders_count') }} as cost_per_conversion,
        {{ ratio('spend_amount', 'new_customers_count') }} as customer_acquisition_cost,
        {{ ratio('net_revenue_amount - spend_amount', 'spend_amount') }} as return_on_investment
    from summed
)

select * from final
