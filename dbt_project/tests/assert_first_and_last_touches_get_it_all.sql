{{ config(enabled=delivers('events'), meta={'dagster': {'ref': {'name': 'order_touches'}}}) }}

-- By the methods `first` and `last`, that touch has the whole order and all others have nothing of it.
select
    order_id,
    touch_number,
    touch_count,
    first_order_share,
    last_order_share
from {{ ref('order_touches') }}
where
    first_order_share <> case when touch_number = 1 then 1 else 0 end
    or last_order_share <> case when touch_number = touch_count then 1 else 0 end
    or (first_order_share = 0 and first_revenue_amount <> 0)
    or (last_order_share = 0 and last_revenue_amount <> 0)
