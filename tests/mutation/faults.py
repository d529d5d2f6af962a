"""The faults that are seeded into the warehouse, each with the data tests that must find it.

A fault is in the SQL of a model (`before` becomes `after` in its compiled text) or in rows (a statement on a table, or
a SELECT in place of a raw dataset). How they are seeded is in `warehouse`; `python -m tests.mutation.faults` writes the
table of faults into the docs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "warehouse-faults.md"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, where (a dbt model or `raw.<dataset>`), how it is seeded, and who must find it."""

    name: str
    where: str
    caught_by: tuple[str, ...]
    before: str = ""
    after: str = ""
    statement: str = ""
    """On rows: an UPDATE, DELETE or INSERT on the table of a model; a SELECT that stands in for a raw dataset."""


def in_sql(name: str, model: str, before: str, after: str, *caught_by: str) -> Fault:
    """A fault in the SQL of a model."""
    return Fault(name, model, caught_by, before=before, after=after)


def in_rows(name: str, where: str, statement: str, *caught_by: str) -> Fault:
    """A fault in the rows of a model's table or of a raw dataset."""
    return Fault(name, where, caught_by, statement=statement)


def delivered_again(name: str, dataset: str, changed: str, where: str, *caught_by: str) -> Fault:
    """Some rows of a raw dataset are there once more, with a change."""
    again = f"SELECT * REPLACE ({changed}) FROM raw.{dataset} WHERE {where}"
    return in_rows(name, f"raw.{dataset}", f"SELECT * FROM raw.{dataset} UNION ALL {again}", *caught_by)


def delivered_as(name: str, dataset: str, changed: str, *caught_by: str) -> Fault:
    """All rows of a raw dataset are changed."""
    return in_rows(name, f"raw.{dataset}", f"SELECT * REPLACE ({changed}) FROM raw.{dataset}", *caught_by)


def delivered_without(name: str, dataset: str, where: str, *caught_by: str) -> Fault:
    """Some rows of a raw dataset are missing."""
    return in_rows(name, f"raw.{dataset}", f"SELECT * FROM raw.{dataset} WHERE NOT ({where})", *caught_by)


FAULTS = (
    # --- what a source or a load gets wrong
    delivered_again(
        "an order line is delivered twice, an hour apart",
        "order_items",
        "ordered_at + INTERVAL 1 HOUR AS ordered_at",
        "line_number = 2",
        "unique_combination_stg_shop__order_items_order_id__line_number",
    ),
    delivered_again(
        "an order is delivered with two order times",
        "orders",
        "ordered_at + INTERVAL 1 DAY AS ordered_at",
        "status = 'completed'",
        "unique_stg_shop__orders_order_id",
        "unique_fct_orders_order_id",
    ),
    delivered_without(
        "some order lines are lost",
        "order_items",
        "line_number = 2",
        "assert_order_lines_sum_to_orders",
    ),
    delivered_without(
        "orders are lost, their lines are not",
        "orders",
        "extract(day FROM ordered_at) = 13",
        "reconciles_fct_order_items",
    ),
    delivered_as(
        "a price has lost its decimal point",
        "order_items",
        "CASE WHEN line_number = 1 THEN unit_price * 100 ELSE unit_price END AS unit_price",
        "assert_order_lines_sum_to_orders",
    ),
    delivered_as(
        "an amount has the wrong sign",
        "orders",
        "-shipping_amount AS shipping_amount",
        "non_negative_fct_orders",
        "assert_order_totals_tie_out",
    ),
    delivered_as(
        "a new order status appears",
        "orders",
        "'on_hold' AS status",
        "accepted_values_stg_shop__orders_status__placed__shipped__completed__cancelled",
    ),
    delivered_without(
        "a product is sold that nobody knows",
        "products",
        "product_id = (SELECT min(product_id) FROM raw.order_items)",
        "assert_fct_order_items_find_one_product_version",
    ),
    delivered_without(
        "a customer's history is lost",
        "customers",
        "customer_id = (SELECT min(customer_id) FROM raw.orders)",
        "assert_fct_orders_find_one_customer_version",
    ),
    delivered_again(
        "an event is delivered with two times",
        "events",
        "occurred_at + INTERVAL 1 DAY AS occurred_at",
        "event_type = 'purchase'",
        "unique_stg_shop__events_event_id",
    ),
    # --- what a run gets wrong
    in_rows(
        "a window of orders is there twice",
        "fct_orders",
        "INSERT INTO {table} SELECT * FROM {table} WHERE order_date < DATE '2024-02-01'",
        "unique_fct_orders_order_id",
    ),
    in_rows(
        "a window of order lines is missing",
        "fct_order_items",
        "DELETE FROM {table} WHERE order_date BETWEEN DATE '2024-02-01' AND DATE '2024-02-29'",
        "assert_order_lines_sum_to_orders",
        "reconciles_fct_order_items",
    ),
    in_rows(
        "a day of sales was not refreshed",
        "agg_daily_sales",
        "UPDATE {table} SET revenue_amount = revenue_amount - 1 WHERE order_date = DATE '2024-02-10'",
        "sums_agg_daily_sales",
    ),
    in_rows(
        "a day of sales is missing",
        "agg_daily_sales",
        "DELETE FROM {table} WHERE order_date = DATE '2024-02-10'",
        "sums_agg_daily_sales",
    ),
    in_rows(
        "a version of a customer begins too late",
        "dim_customers",
        "UPDATE {table} SET valid_from = valid_from + INTERVAL 1 DAY WHERE version_number = 2",
        "versions_without_gap_dim_customers_customer_id",
    ),
    in_rows(
        "the current version of a product is not marked",
        "dim_products",
        "UPDATE {table} SET is_current = false",
        "versions_without_gap_dim_products_product_id",
    ),
    in_rows(
        "a dimension's row is gone from under the facts",
        "dim_customers",
        "DELETE FROM {table} WHERE customer_id = '(guest)'",
        "assert_fct_orders_find_one_customer_version",
    ),
    in_rows(
        "a day is missing in the calendar",
        "dim_dates",
        "DELETE FROM {table} WHERE date_day = DATE '2024-02-29'",
        "relationships_fct_orders_order_date__date_day__ref_dim_dates_",
    ),
    # --- what an edit of the SQL gets wrong
    in_sql(
        "the lines join their order by nothing",
        "fct_order_items",
        "inner join placed on lines.order_id = placed.order_id",
        "inner join placed on lines.order_id = placed.order_id or placed.order_id = 'O00000100'",
        "unique_fct_order_items_order_item_key",
    ),
    in_sql(
        "facts join the current version of a customer",
        "fct_order_items",
        "and orders.ordered_at >= customers.valid_from",
        "and customers.valid_to > '9999-01-01' and orders.ordered_at >= customers.valid_from - INTERVAL 8000 YEAR",
        "assert_fct_order_items_find_one_customer_version",
    ),
    in_sql(
        "a line's discount is added",
        "fct_order_items",
        "sold.gross_amount - sold.discount_amount",
        "sold.gross_amount + sold.discount_amount",
        "assert_line_amounts_tie_out",
    ),
    in_sql(
        "shipping is left out of an order",
        "fct_orders",
        "orders.total_amount,",
        "orders.total_amount - orders.shipping_amount as total_amount,",
        "assert_order_totals_tie_out",
    ),
    in_sql(
        "orders without lines are dropped, and lines with them",
        "fct_orders",
        "left join lines on orders.order_id = lines.order_id",
        "inner join lines on orders.order_id = lines.order_id and lines.line_count > 1",
        "relationships_fct_order_items_order_id__order_id__ref_fct_orders_",
    ),
    in_sql(
        "cancelled orders count as sales",
        "agg_daily_sales",
        "not is_cancelled",
        "true",
        "sums_agg_daily_sales",
    ),
    in_sql(
        "days are cut in another time zone",
        "fct_orders",
        "at time zone 'UTC'",
        "at time zone 'Pacific/Auckland'",
        "assert_dates_are_utc_days",
    ),
    in_sql(
        "the oldest version of an order wins",
        "stg_shop__orders",
        "order by updated_at desc",
        "order by updated_at asc",
        "reconciles_stg_shop__orders",
    ),
    in_sql(
        "staging leaves out large payments",
        "stg_shop__payments",
        "version_rank = 1",
        "version_rank = 1 and amount < 200",
        "reconciles_stg_shop__payments",
    ),
    in_sql(
        "staging rounds what was spent to whole units",
        "stg_shop__marketing_spend",
        "spend_amount,",
        "cast(round(spend_amount) as decimal(18, 2)) as spend_amount,",
        "reconciles_stg_shop__marketing_spend",
    ),
    in_sql(
        "staging lets some events through again, a day later",
        "stg_shop__events",
        "version_rank = 1",
        "version_rank = 1 union all "
        "select * exclude (version_rank) replace (occurred_at + interval 1 day as occurred_at) "
        "from renamed where extract(day from occurred_at) = 13",
        "reconciles_stg_shop__events",
        "unique_stg_shop__events_event_id",
    ),
    in_sql(
        "versions of a customer are ordered by something else",
        "int_customers_versioned",
        "order by updated_at",
        "order by registered_at",
        "versions_without_gap_dim_customers_customer_id",
    ),
    in_sql(
        "a surrogate key forgets the version",
        "dim_products",
        "cast(epoch_us(updated_at) as varchar)",
        "''",
        "unique_dim_products_product_key",
    ),
    in_sql(
        "a session goes on for ever",
        "fct_events",
        "interval '30 minutes'",
        "interval '30 days'",
        "assert_sessions_part_at_gaps",
    ),
    in_rows(
        "a session is there twice",
        "fct_sessions",
        "INSERT INTO {table} SELECT * FROM {table} WHERE session_date = DATE '2024-02-10'",
        "unique_fct_sessions_session_key",
    ),
    in_sql(
        "whoever saw a category has checked it out",
        "category_funnel",
        "count(*) filter (where has_checkout)",
        "count(*)",
        "assert_category_funnel_within_conversion_funnel",
    ),
    in_rows(
        "a touch loses a cent of its order",
        "order_touches",
        "UPDATE {table} SET linear_revenue_amount = linear_revenue_amount - 0.01 WHERE touch_number = 1",
        "assert_touch_credits_sum_to_orders",
    ),
    in_rows(
        "the first touch and the last are exchanged",
        "order_touches",
        "UPDATE {table} SET first_order_share = last_order_share, last_order_share = first_order_share "
        "WHERE touch_count > 1",
        "assert_first_and_last_touches_get_it_all",
    ),
    in_sql(
        "a channel's last touches count twice",
        "channel_attribution",
        "sum(last_revenue_amount)",
        "sum(2 * last_revenue_amount)",
        "assert_channel_attribution_ties_out",
    ),
    in_sql(
        "a session that saw a product has filled a cart",
        "conversion_funnel",
        "filter (where has_cart)",
        "filter (where has_product_view)",
        "assert_conversion_funnel_counts_all_sessions",
    ),
    in_rows(
        "the fiscal year begins a month late",
        "dim_dates",
        "UPDATE {table} SET fiscal_month = (fiscal_month + 10) % 12 + 1",
        "assert_fiscal_calendar_begins_in_its_month",
    ),
    in_rows(
        "a fiscal year is named a year ahead",
        "dim_dates",
        "UPDATE {table} SET fiscal_year = fiscal_year + 1",
        "assert_fiscal_calendar_begins_in_its_month",
    ),
    in_rows(
        "holidays have lost their names",
        "dim_dates",
        "UPDATE {table} SET holiday_name = NULL",
        "assert_holidays_mark_their_days",
    ),
    in_rows(
        "recency and frequency are exchanged in the scores",
        "rfm_segments",
        "UPDATE {table} SET recency_score = frequency_score, frequency_score = recency_score",
        "assert_rfm_scores_fit_their_bands",
    ),
    in_rows(
        "a payment is booked a cent too high",
        "fct_payments",
        "UPDATE {table} SET amount = amount + 0.01 WHERE is_captured",
        "assert_daily_payments_tie_out",
        "reconciles_fct_payments",
    ),
    in_rows(
        "a partition of refunds is missing",
        "fct_refunds",
        "DELETE FROM {table} WHERE refund_date BETWEEN DATE '2024-03-01' AND DATE '2024-03-31'",
        "reconciles_fct_refunds",
    ),
    in_rows(
        "ratings are counted from the other end",
        "fct_reviews",
        "UPDATE {table} SET rating = 6 - rating",
        "reconciles_fct_reviews",
    ),
    in_rows(
        "a partition of experiment assignments is missing",
        "fct_experiment_assignments",
        "DELETE FROM {table} WHERE assignment_date BETWEEN DATE '2024-02-01' AND DATE '2024-02-29'",
        "reconciles_fct_experiment_assignments",
    ),
    in_rows(
        "a partition of orders is as it was before a correction",
        "fct_orders",
        "UPDATE {table} SET shipping_amount = 0, total_amount = total_amount - shipping_amount "
        "WHERE order_date BETWEEN DATE '2024-03-01' AND DATE '2024-03-31' AND shipping_amount > 0",
        "reconciles_fct_orders",
    ),
    in_rows(
        "the last version of a product is missing",
        "dim_products",
        "DELETE FROM {table} WHERE is_current AND version_number > 1",
        "reconciles_dim_products",
    ),
    in_rows(
        "prices of products are in cents",
        "dim_products",
        "UPDATE {table} SET list_price = list_price * 100",
        "reconciles_dim_products",
    ),
    in_sql(
        "orders without a refund are not settled",
        "int_orders_settled",
        "left join refunds",
        "inner join refunds",
        "reconciles_int_orders_settled",
    ),
    in_sql(
        "of an order's refunds only the smallest counts",
        "int_refunds_summed",
        "sum(amount)",
        "min(amount)",
        "assert_settled_refunds_tie_out",
    ),
    in_rows(
        "a refund is forgotten in a day's net revenue",
        "agg_daily_sales",
        "UPDATE {table} SET refunded_amount = 0, net_revenue_amount = revenue_amount",
        "assert_daily_refunds_tie_out",
    ),
    in_sql(
        "a refund is no customer's",
        "fct_refunds",
        "coalesce(source.customer_id, orders.customer_id)",
        "cast(null as varchar)",
        "assert_customer_net_revenue_ties_out_with_orders",
    ),
    in_sql(
        "a refund is of no product",
        "fct_refunds",
        "coalesce(source.product_id, lines.product_id)",
        "cast(null as varchar)",
        "assert_product_refunds_tie_out_with_lines",
    ),
    in_sql(
        "sales by place leave out orders without one",
        "sales_by_geography",
        "not is_cancelled",
        "not is_cancelled and shipping_amount > 0",
        "sums_sales_by_geography",
    ),
    in_sql(
        "sales by place lose the discounts of orders without shipping",
        "sales_by_geography",
        "sum(discount_amount)",
        "sum(case when shipping_amount > 0 then discount_amount else 0 end)",
        "sums_sales_by_geography",
    ),
    in_rows(
        "shipping is left out of a day",
        "agg_daily_sales",
        "UPDATE {table} SET shipping_amount = 0, revenue_amount = revenue_amount - shipping_amount",
        "sums_agg_daily_sales",
    ),
    in_rows(
        "a day's margin is off by one",
        "agg_daily_sales",
        "UPDATE {table} SET margin_amount = margin_amount + 1 WHERE order_date = DATE '2024-02-10'",
        "sums_agg_daily_sales_of_lines",
    ),
    in_sql(
        "the effect of discounts counts costs twice",
        "discount_impact",
        "sum(cost_amount) as decimal(18, 2)) as cost_amount",
        "sum(2 * cost_amount) as decimal(18, 2)) as cost_amount",
        "sums_discount_impact_of_lines",
    ),
    in_rows(
        "an hour of a weekday is missing",
        "weekday_sales",
        "DELETE FROM {table} WHERE hour_of_day = 12",
        "sums_weekday_sales",
    ),
    in_rows(
        "declined payments have no amount",
        "payment_mix",
        "UPDATE {table} SET declined_amount = 0",
        "sums_payment_mix",
    ),
    in_rows(
        "a product's day loses its discounts",
        "agg_product_performance",
        "UPDATE {table} SET discount_amount = 0, gross_amount = net_amount WHERE discount_amount > 0",
        "sums_agg_product_performance",
    ),
    in_rows(
        "a lifetime's margin forgets the refunds",
        "customer_lifetime_value",
        "UPDATE {table} SET lifetime_margin_amount = lifetime_margin_amount + 1 WHERE refunded_amount > 0",
        "assert_customer_marts_agree_on_net_revenue",
    ),
    in_rows(
        "a campaign's refunds are forgotten",
        "campaign_performance",
        "UPDATE {table} SET refund_amount = 0, net_revenue_amount = revenue_amount WHERE refund_amount > 0",
        "assert_campaign_performance_ties_out",
    ),
    in_rows(
        "stock is off by one",
        "inventory_status",
        "UPDATE {table} SET quantity_on_hand = quantity_on_hand + 1",
        "assert_inventory_status_ties_out",
    ),
    in_rows(
        "a cohort loses a month",
        "customer_cohorts",
        "DELETE FROM {table} WHERE months_since = 1",
        "assert_cohorts_have_every_month",
    ),
    in_rows(
        "a customer is in two cohorts",
        "customer_lifetime_value",
        "INSERT INTO {table} SELECT * FROM {table} LIMIT 1",
        "unique_customer_lifetime_value_customer_id",
    ),
    in_rows(
        "a category's shares no longer sum to one",
        "category_affinity",
        "UPDATE {table} SET spend_share = spend_share / 2",
        "assert_category_shares_sum_to_one",
    ),
    in_rows(
        "spend on a channel is counted twice",
        "fct_marketing_spend",
        "INSERT INTO {table} SELECT * FROM {table} WHERE spend_date = DATE '2024-02-10'",
        "unique_combination_fct_marketing_spend_campaign_id__spend_date",
    ),
)


def document() -> str:
    """The table of faults, in Markdown."""
    rows = [
        f"| {fault.name} | `{fault.where}` | {'rows' if fault.statement else 'SQL'} | "
        f"{', '.join(f'`{test}`' for test in fault.caught_by)} |"
        for fault in FAULTS
    ]
    return "\n".join(
        [
            "# Which test finds which fault",
            "",
            "`tests/mutation` seeds each fault alone into a built warehouse and builds again what is downstream of it.",
            "The named data tests must then fail, and without a fault none may. `make docs` wrote this page.",
            "",
            "| fault | where | in | found by |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
