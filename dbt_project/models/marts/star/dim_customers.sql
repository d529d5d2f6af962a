with source as (
    select * from {{ ref('int_customers_versioned') }}
),

versions as (
    select
        {{ surrogate_key(['customer_id', epoch_microseconds('updated_at')]) }} as customer_key,
        customer_id,
        version_number,
        valid_from,
        valid_to,
        is_current,
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
),

guest as (
    select
        md5({{ guest_id() }}) as customer_key,
        {{ guest_id() }} as customer_id,
        1 as version_number,
        {{ beginning_of_time() }} as valid_from,
        {{ end_of_time() }} as valid_to,
        true as is_current,
        cast(null as timestamptz) as registered_at,
        cast(null as varchar) as email,
        cast(null as varchar) as first_name,
        cast(null as varchar) as last_name,
        cast(null as varchar) as phone,
        cast(null as date) as birth_date,
        cast(null as varchar) as street,
        cast(null as varchar) as city,
        cast(null as varchar) as region,
        cast(null as varchar) as postal_code,
        cast(null as varchar) as country,
        cast(null as varchar) as loyalty_tier,
        cast(null as varchar) as acquisition_channel,
        cast(null as boolean) as is_email_opt_in
),

final as (
    select * from versions
    union all
    select * from guest
)

select * from final
