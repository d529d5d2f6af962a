{%- set bounds = var('discount_bands_pct') -%}

with orders as (
    select
        *,
        {{ ratio('100 * discount_amount', 'gross_amount') }} as discount_pct
    from {{ ref('int_orders_settled') }}
    where not is_cancelled
),

lines as (
    select * from {{ ref('fct_order_items') }}
    where not is_cancelled
),

costed as (
    select
        order_id,
        sum(cost_amount) as cost_amount,
        sum(margin_amount) as margin_amount
    from lines
    group by order_id
),

-- Band 0 is for orders without a discount; the others are numbered by the bounds that they reach.
banded as (
    select
        orders.*,
        costed.cost_amount,
        costed.margin_amount,
        cast(case
            when orders.discount_amount = 0 then 0
            else {{ banded_score('orders.discount_pct', bounds) }}
        end as bigint) as discount_band
    from orders
    left join costed on orders.order_id = costed.order_id
),

final as (
    select
        month_start_date,
        discount_band,
        case
            when discount_band = 0 then 'none'
            {%- for bound in bounds %}
            when
                discount_band = {{ loop.index }}
                then '{{ 'under' if loop.first else bounds[loop.index0 - 1] ~ '_to' }}_{{ bound }}_pct'
            {%- endfor %}
            else 'from_{{ bounds | last }}_pct'
        end as discount_band_name,
        count(*) as orders_count,
        cast(sum(item_quantity) as bigint) as units,
        cast(sum(gross_amount) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount,
        cast(sum(gross_amount - discount_amount) as decimal(18, 2)) as net_amount,
        cast(sum(total_amount) as decimal(18, 2)) as revenue_amount,
        cast(sum(refunded_amount) as decimal(18, 2)) as refunded_amount,
        cast(sum(cost_amount) as decimal(18, 2)) as cost_amount,
        cast(sum(margin_amount) as decimal(18, 2)) as margin_amount,
        {{ ratio('sum(total_amount)', 'count(*)') }} as average_order_value
    from banded
    group by month_start_date, discount_band
)

select * from final
