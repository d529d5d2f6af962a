{{ config(enabled=delivers('events')) }}

{%- set methods = ['first', 'last', 'linear', 'position_based', 'time_decay'] -%}

with touches as (
    select
        *,
        cast(date_trunc('month', order_date) as date) as month_start_date
    from {{ ref('order_touches') }}
),

credited as (
    {%- for method in methods %}
    select
        month_start_date,
        channel,
        '{{ method }}' as method,
        sum({{ method }}_order_share) as orders_credited,
        sum({{ method }}_revenue_amount) as revenue_amount
    from touches
    group by month_start_date, channel
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

spent as (
    {% if delivers('marketing_spend') %}
    select
        cast(date_trunc('month', spend_date) as date) as month_start_date,
        channel,
        sum(spend_amount) as spend_amount
    from {{ ref('fct_marketing_spend') }}
    group by cast(date_trunc('month', spend_date) as date), channel
    {% else %}
    select
        cast(null as date) as month_start_date,
        cast(null as varchar) as channel,
        cast(0 as decimal(18, 2)) as spend_amount
    where false
    {% endif %}
),

spent_by_method as (
    {%- for method in methods %}
    select
        month_start_date,
        channel,
        '{{ method }}' as method,
        spend_amount
    from spent
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

joined as (
    select
        coalesce(credited.month_start_date, spent_by_method.month_start_date) as month_start_date,
        coalesce(credited.channel, spent_by_method.channel) as channel,
        coalesce(credited.method, spent_by_method.method) as method,
        cast(coalesce(credited.orders_credited, 0) as decimal(18, 4)) as orders_credited,
        cast(coalesce(credited.revenue_amount, 0) as decimal(18, 2)) as revenue_amount,
        cast(coalesce(spent_by_method.spend_amount, 0) as decimal(18, 2)) as spend_amount
    from credited
    full outer join spent_by_method
        on credited.month_start_date = spent_by_method.month_start_date
        and credited.channel = spent_by_method.channel
        and credited.method = spent_by_method.method
),

final as (
    select
        month_start_date,
        channel,
        method,
        orders_credited,
        revenue_amount,
        spend_amount,
        {{ ratio('revenue_amount', 'spend_amount') }} as return_on_ad_spend,
        {{ ratio('spend_amount', 'orders_credited') }} as cost_per_order
    from joined
)

select * from final
