{{ config(
    enabled=delivers('events') and delivers('marketing_spend'),
    meta={'dagster': {'ref': {'name': 'channel_attribution'}}}
) }}

-- By each of the five methods, what a channel cost in a month is what was spent on it.
with spent as (
    select
        cast(date_trunc('month', spend_date) as date) as month_start_date,
        channel,
        sum(spend_amount) as spend_amount
    from {{ ref('fct_marketing_spend') }}
    group by cast(date_trunc('month', spend_date) as date), channel
),

channels as (
    select
        month_start_date,
        channel,
        count(distinct method) as method_count,
        min(spend_amount) as least_spend_amount,
        max(spend_amount) as most_spend_amount
    from {{ ref('channel_attribution') }}
    where spend_amount > 0
    group by month_start_date, channel
)

select
    coalesce(spent.month_start_date, channels.month_start_date) as month_start_date,
    coalesce(spent.channel, channels.channel) as channel,
    spent.spend_amount,
    channels.most_spend_amount
from spent
full outer join channels
    on spent.month_start_date = channels.month_start_date
    and spent.channel = channels.channel
where
    coalesce(spent.spend_amount, 0) <> coalesce(channels.least_spend_amount, 0)
    or coalesce(spent.spend_amount, 0) <> coalesce(channels.most_spend_amount, 0)
    or channels.method_count <> 5
