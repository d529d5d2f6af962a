with source as (
    select * from {{ ref('stg_shop__customers') }}
),

final as (
    select
        customer_id,
        updated_at,
        {{ scd2_columns('customer_id', 'updated_at') }},
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
    from source
)

select * from final
