{{ config(
    materialized='incremental',
    incremental_strategy='delete_insert_window',
    event_time='assigned_at',
    on_schema_change='fail',
    enabled=delivers('experiment_assignments')
) }}

with source as (
    select * from {{ ref('stg_shop__experiment_assignments') }}
    where {{ in_window('assigned_at') }}
),

final as (
    select
        experiment_id,
        customer_id,
        variant,
        assigned_at,
        {{ utc_date('assigned_at') }} as assignment_date
    from source
)

select * from final
