with versions as (
    select * from {{ ref('int_customers_versioned') }}
    where is_current
),

final as (
    select
        customer_id,
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
    from versions
)

select * from final
