{{ config(enabled=delivers('payments'), meta={'dagster': {'ref': {'name': 'fct_payments'}}}) }}

-- Each staged attempt of the run's window is in the fact with its amount, and nothing else is.
select
    coalesce(staged.payment_id, facts.payment_id) as payment_id,
    staged.amount,
    facts.amount as facts_amount
from (select * from {{ ref('stg_shop__payments') }} where {{ in_window('paid_at') }}) as staged
full outer join (select * from {{ ref('fct_payments') }} where {{ in_window('paid_at') }}) as facts
    on staged.payment_id = facts.payment_id
where staged.amount is distinct from facts.amount
