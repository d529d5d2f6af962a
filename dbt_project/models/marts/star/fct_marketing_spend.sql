{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='spend_date',
    on_schema_change='fail',
    enabled=delivers('marketing_spend')
) }}

with source as (
    select * from {{ ref('stg_shop__marketing_spend') }}
    where {{ in_window('spend_date') }}
),

final as (
    select
        campaign_id,
        spend_date,
        channel,
        spend_amount,
        impressions,
        clicks
    from source
)

select * from final
