{{ config(enabled=delivers('experiment_assignments')) }}

with source as (
    select * from {{ source('shop', 'experiment_assignments') }}
),

renamed as (
    select
        experiment_id,
        customer_id,
        assigned_at,
        variant,
        {{ version_rank(['experiment_id', 'customer_id', 'variant', 'assigned_at']) }} as version_rank
    from source
),

final as (
    select
        experiment_id,
        customer_id,
        assigned_at,
        variant
    from renamed
    where version_rank = 1
)

select * from final
