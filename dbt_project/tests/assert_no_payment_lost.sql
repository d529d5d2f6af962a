{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'fct_payments'}}}) }}

-- Each staged attempt of the run's window is in the fact with its amount, and nothing else is.
with staged as (
    select * from {{ ref('stg_shop__payments') }}
    where {{ in_window('paid_at') }}
),

facts as (
    select * from {{ ref('fct_payments') }}
    where {{ in_window('paid_at') }}
)

select
    coalesce(staged.payment_id, facts.payment_id) as payment_id,
    staged.amount,
    facts.amount as facts_amount
from staged
full outer join facts on staged.payment_id = facts.payment_id
where staged.amount is distinct from facts.amount
