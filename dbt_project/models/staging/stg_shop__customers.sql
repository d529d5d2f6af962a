with source as (
    select * from {{ source('shop', 'customers') }}
),

renamed as (
    select
        customer_id,
        updated_at,
        registered_at,
        email,
        first_name,
        last_name,
        phone,
        birth_date,
        street,
        city,
        region,
        postal_code,
        country,
        loyalty_tier,
        acquisition_channel,
        is_email_opt_in,
        {{ version_rank(['customer_id', 'updated_at']) }} as version_rank
    from source
),

final as (
    select
        customer_id,
        updated_at,
        registered_at,
        email,
        first_name,
        last_name,
        phone,
        birth_date,
        street,
        city,
        region,
        postal_code,
        country,
        loyalty_tier,
        acquisition_channel,
        is_email_opt_in
    from renamed
    where version_rank = 1
)

select * from final
