{{ config(meta={'dagster': {'ref': {'name': 'rfm_segments'}}}) }}

-- A score is above n exactly where the value reaches the n-th bound of its dbt var: few days, many orders, much money.
select
    customer_id,
    recency_score,
    frequency_score,
    monetary_score
from {{ ref('rfm_segments') }}
where
    false
    {%- for bound in var('rfm_recency_days') %}
    or (recency_score > {{ loop.index }}) <> (recency_days <= {{ bound }})
    {%- endfor %}
    {%- for bound in var('rfm_frequency_orders') %}
    or (frequency_score > {{ loop.index }}) <> (frequency >= {{ bound }})
    {%- endfor %}
    {%- for bound in var('rfm_monetary_amount') %}
    or (monetary_score > {{ loop.index }}) <> (monetary_amount >= {{ bound }})
    {%- endfor %}
