{{ config(enabled=delivers('marketing_spend'), meta={'dagster': {'ref': {'name': 'fct_marketing_spend'}}}) }}

-- What was delivered as spent in the run's window is what the fact holds of it, day by day.
with delivered as (
    select
        spend_date,
        sum(spend_amount) as spend_amount
    from {{ ref('stg_shop__marketing_spend') }}
    where {{ in_window('spend_date') }}
    group by spend_date
),

facts as (
    select
        spend_date,
        sum(spend_amount) as spend_amount
    from {{ ref('fct_marketing_spend') }}
    where {{ in_window('spend_date') }}
    group by spend_date
)

select
    coalesce(delivered.spend_date, facts.spend_date) as spend_date,
    delivered.spend_amount,
    facts.spend_amount as facts_spend_amount
from delivered
full outer join facts on delivered.spend_date = facts.spend_date
where delivered.spend_amount is distinct from facts.spend_amount
