with customers as (
    select
        customer_id,
        cast(date_trunc('month', first_order_date) as date) as cohort_month
    from {{ ref('int_customers_summed') }}
    where orders_count > 0
),

orders as (
    select
        customer_id,
        total_amount,
        cast(date_trunc('month', order_date) as date) as activity_month
    from {{ ref('fct_orders') }}
    where
        not is_cancelled
        and not is_guest
),

refunds as (
    {% if delivers('refunds') %}
    select
        granted.customer_id,
        granted.amount,
        cast(date_trunc('month', granted.refund_date) as date) as activity_month
    from {{ ref('fct_refunds') }} as granted
    left join {{ ref('fct_orders') }} as refunded_orders on granted.order_id = refunded_orders.order_id
    where
        granted.customer_id is not null
        and refunded_orders.is_cancelled is not true
    {% else %}
    select
        cast(null as varchar) as customer_id,
        cast(0 as decimal(18, 2)) as amount,
        cast(null as date) as activity_month
    where false
    {% endif %}
),

months as (
    select distinct month_start_date as activity_month
    from {{ ref('dim_dates') }}
),

-- A refund from before the first order is of a purchase that the shop's data does not reach back to.
activities as (
    select
        customers.cohort_month,
        orders.activity_month,
        orders.customer_id,
        1 as is_order,
        orders.total_amount as revenue_amount,
        0 as refunded_amount
    from orders
    inner join customers on orders.customer_id = customers.customer_id
    union all
    select
        customers.cohort_month,
        greatest(refunds.activity_month, customers.cohort_month) as activity_month,
        refunds.customer_id,
        0 as is_order,
        0 as revenue_amount,
        refunds.amount as refunded_amount
    from refunds
    inner join customers on refunds.customer_id = customers.customer_id
),

cohorts as (
    select
        cohort_month,
        count(*) as cohort_size
    from customers
    group by cohort_month
),

last_month as (
    select max(activity_month) as activity_month
    from activities
),

summed as (
    select
        cohort_month,
        activity_month,
        count(distinct case when is_order = 1 then customer_id end) as active_customers,
        cast(sum(is_order) as bigint) as orders_count,
        cast(sum(revenue_amount) as decimal(18, 2)) as revenue_amount,
        cast(sum(refunded_amount) as decimal(18, 2)) as refunded_amount,
        cast(sum(revenue_amount - refunded_amount) as decimal(18, 2)) as net_revenue_amount
    from activities
    group by cohort_month, activity_month
),

filled as (
    select
        cohorts.cohort_month,
        months.activity_month,
        cohorts.cohort_size,
        cast(
            12 * (extract(year from months.activity_month) - extract(year from cohorts.cohort_month))
            + extract(month from months.activity_month) - extract(month from cohorts.cohort_month)
            as bigint
        ) as months_since,
        coalesce(summed.active_customers, 0) as active_customers,
        coalesce(summed.orders_count, 0) as orders_count,
        coalesce(summed.revenue_amount, 0) as revenue_amount,
        coalesce(summed.refunded_amount, 0) as refunded_amount,
        coalesce(summed.net_revenue_amount, 0) as net_revenue_amount
    from cohorts
    cross join last_month
    inner join months on months.activity_month between cohorts.cohort_month and last_month.activity_month
    left join summed
        on cohorts.cohort_month = summed.cohort_month
        and months.activity_month = summed.activity_month
),

accumulated as (
    select
        *,
        cast(
            sum(net_revenue_amount) over (
                partition by cohort_month
                order by activity_month
                rows between unbounded preceding and current row
            ) as decimal(18, 2)
        ) as cumulative_net_revenue_amount
    from filled
),

final as (
    select
        cohort_month,
        months_since,
        activity_month,
        cohort_size,
        active_customers,
        orders_count,
        cast(revenue_amount as decimal(18, 2)) as revenue_amount,
        cast(refunded_amount as decimal(18, 2)) as refunded_amount,
        cast(net_revenue_amount as decimal(18, 2)) as net_revenue_amount,
        cumulative_net_revenue_amount,
        {{ ratio('active_customers', 'cohort_size') }} as retention_ratio,
        {{ ratio('cumulative_net_revenue_amount', 'cohort_size') }} as cumulative_net_revenue_per_customer
    from accumulated
)

select * from final
