{{ config(enabled=delivers('events')) }}

{#- Built whole: a visitor who logs in becomes known in all earlier sessions too, whatever their window. -#}

{%- set methods = ['first', 'last', 'linear', 'position_based', 'time_decay'] -%}

with orders as (
    select * from {{ ref('int_orders_ranked') }}
),

sessions as (
    select * from {{ ref('int_sessions_identified') }}
),

purchases as (
    select
        order_id,
        session_key,
        row_number() over (partition by order_id order by occurred_at, event_id) as purchase_number
    from {{ ref('fct_events') }}
    where event_type = 'purchase'
),

bought as (
    select
        orders.order_id,
        orders.ordered_at,
        coalesce(orders.customer_id, sessions.buyer_id) as buyer_id,
        orders.channel,
        sessions.session_key as own_session_key
    from orders
    left join purchases
        on orders.order_id = purchases.order_id
        and purchases.purchase_number = 1
    left join sessions on purchases.session_key = sessions.session_key
),

own as (
    select
        bought.order_id,
        sessions.session_key,
        sessions.channel,
        sessions.started_at as touched_at,
        true as is_own
    from bought
    inner join sessions on bought.own_session_key = sessions.session_key
    where sessions.channel is not null
),

earlier as (
    select
        bought.order_id,
        sessions.session_key,
        sessions.channel,
        sessions.started_at as touched_at,
        false as is_own
    from bought
    inner join sessions
        on bought.buyer_id = sessions.buyer_id
        and bought.ordered_at >= sessions.started_at
        and bought.ordered_at
        <= sessions.started_at + interval '{{ var("attribution_window_days") }} days'
    where
        sessions.channel is not null
        and sessions.session_key is distinct from bought.own_session_key
),

visits as (
    select * from own
    union all
    select * from earlier
),

-- An order that no session leads to keeps its worth: the channel that the order itself names gets all of it.
touches as (
    select
        orders.order_id,
        orders.order_date,
        visits.session_key,
        coalesce(visits.channel, orders.channel, 'unknown') as channel,
        coalesce(visits.touched_at, orders.ordered_at) as touched_at,
        coalesce(visits.is_own, true) as is_own,
        greatest(
            {{ ratio(
                epoch_microseconds('orders.ordered_at')
                ~ ' - ' ~ epoch_microseconds('coalesce(visits.touched_at, orders.ordered_at)'),
                '86400000000'
            ) }},
            0
        ) as days_before_order,
        orders.revenue_amount,
        orders.is_new_customer
    from orders
    left join visits on orders.order_id = visits.order_id
),

numbered as (
    select
        *,
        row_number() over (partition by order_id order by is_own, touched_at, session_key) as touch_number,
        count(*) over (partition by order_id) as touch_count,
        min(days_before_order) over (partition by order_id) as fewest_days
    from touches
),

weighed as (
    select
        *,
        case when touch_number = 1 then 1 else 0 end as first_weight,
        case when touch_number = touch_count then 1 else 0 end as last_weight,
        1 as linear_weight,
        case
            when touch_count <= 2 then 1
            when touch_number in (1, touch_count) then 0.4
            else cast(0.2 as double precision) / (touch_count - 2)
        end as position_based_weight,
        -- From the nearest touch and not from the order, so that the weights of an order never all vanish.
        power(
            cast(0.5 as double precision),
            (days_before_order - fewest_days) / {{ var('attribution_half_life_days') }}
        ) as time_decay_weight
    from numbered
),

-- Decimals: a sum of doubles would depend on the order of the rows.
exact as (
    select
        {%- for method in methods %}
        cast({{ method }}_weight as decimal(18, 12)) as {{ method }}_exact,
        {%- endfor %}
        *
    from weighed
),

cumulated as (
    select
        {%- for method in methods %}
        cast(
            case
                when touch_number = touch_count then 1
                else
                    cast(sum({{ method }}_exact) over (
                        partition by order_id order by touch_number rows between unbounded preceding and current row
                    ) as double precision)
                    / cast(sum({{ method }}_exact) over (partition by order_id) as double precision)
            end as decimal(18, 12)
        ) as {{ method }}_cumulated,
        {%- endfor %}
        *
    from exact
),

-- What is rounded is the cumulated credit, of which each touch gets what it adds: so an order's credits lose no cent.
rounded as (
    select
        {%- for method in methods %}
        cast(round(revenue_amount * {{ method }}_cumulated, 2) as decimal(18, 2)) as {{ method }}_revenue_until,
        cast(round({{ method }}_cumulated, 4) as decimal(18, 4)) as {{ method }}_order_until,
        {%- endfor %}
        *
    from cumulated
),

final as (
    select
        order_id,
        touch_number,
        touch_count,
        session_key,
        channel,
        touched_at,
        days_before_order,
        order_date,
        revenue_amount,
        {%- for method in methods %}
        cast(
            {{ method }}_revenue_until
            - coalesce(lag({{ method }}_revenue_until) over (partition by order_id order by touch_number), 0)
            as decimal(18, 2)
        ) as {{ method }}_revenue_amount,
        cast(
            {{ method }}_order_until
            - coalesce(lag({{ method }}_order_until) over (partition by order_id order by touch_number), 0)
            as decimal(18, 4)
        ) as {{ method }}_order_share,
        {%- endfor %}
        is_new_customer
    from rounded
)

select * from final
