"""The catalogue of customer features: the one definition of each feature's name, type, unit and meaning.

How the values are computed is in `customers`; a test holds the two together.
"""

from __future__ import annotations

from cartograph.contracts import Column
from ml_assets.core.features.definition import Feature, FeatureTable

_NO_ORDER = "the customer has not ordered yet"
_ONE_ORDER_DAY = "the customer has ordered on fewer than two days"
_NOT_TOLD = "the shop does not say"
_NO_MART = "the mart was not delivered when the row was written"

_FEATURES = (
    Feature(
        name="registered_days",
        type="bigint",
        unit="days",
        minimum=1,
        description="Since the customer registered or first bought.",
    ),
    Feature(
        name="loyalty_rank",
        type="bigint",
        unit="rank, 1 (bronze) to 4 (platinum)",
        minimum=1,
        maximum=4,
        description="Loyalty tier on the as-of date.",
        null_means=_NOT_TOLD,
    ),
    Feature(
        name="email_opt_in",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether marketing e-mail was allowed on the as-of date.",
        null_means=_NOT_TOLD,
    ),
    Feature(
        name="recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        description="Since the latest order; 1 is the day before the as-of date.",
        null_means=_NO_ORDER,
    ),
    Feature(name="tenure_days", type="bigint", unit="days", description="Since the first order.", null_means=_NO_ORDER),
    Feature(name="orders_count", type="bigint", unit="orders", description="Placed so far."),
    Feature(name="order_days_count", type="bigint", unit="days", description="Days with an order so far."),
    Feature(name="orders_30d", type="bigint", unit="orders", description="Placed in the last 30 days."),
    Feature(name="orders_90d", type="bigint", unit="orders", description="Placed in the last 90 days."),
    Feature(name="orders_180d", type="bigint", unit="orders", description="Placed in the last 180 days."),
    Feature(name="orders_365d", type="bigint", unit="orders", description="Placed in the last 365 days."),
    Feature(
        name="mean_gap_days",
        type="double",
        unit="days",
        description="Mean time between the days with an order.",
        null_means=_ONE_ORDER_DAY,
    ),
    Feature(
        name="overdue_ratio",
        type="double",
        unit="ratio",
        description="recency_days / mean_gap_days: above 1 the next order is late.",
        null_means=_ONE_ORDER_DAY,
    ),
    Feature(name="spend_amount", type="double", unit="shop currency", description="Total of the orders placed so far."),
    Feature(
        name="spend_90d_amount",
        type="double",
        unit="shop currency",
        description="Total of the orders placed in the last 90 days.",
    ),
    Feature(
        name="spend_365d_amount",
        type="double",
        unit="shop currency",
        description="Total of the orders placed in the last 365 days.",
    ),
    Feature(
        name="mean_order_amount",
        type="double",
        unit="shop currency",
        description="Mean total of an order.",
        null_means=_NO_ORDER,
    ),
    Feature(
        name="mean_order_quantity",
        type="double",
        unit="units",
        description="Mean number of units in an order.",
        null_means=_NO_ORDER,
    ),
    Feature(
        name="discount_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Discounts over gross amount of all orders.",
        null_means="nothing of worth was ordered yet",
    ),
    Feature(name="products_count", type="bigint", unit="products", description="Different products ordered so far."),
    Feature(
        name="refunds_180d",
        type="bigint",
        unit="refunds",
        description="Lines refunded in the last 180 days.",
        null_means=_NO_MART,
        needs="fct_refunds",
    ),
    Feature(
        name="refunded_share",
        type="double",
        unit="ratio",
        description="Amount refunded so far over spend_amount.",
        null_means=f"nothing was spent yet, or {_NO_MART}",
        needs="fct_refunds",
    ),
    Feature(
        name="visit_days_30d",
        type="bigint",
        unit="days",
        description="Days with a visit to the shop in the last 30 days.",
        null_means=_NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="visit_recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        maximum=180,
        description="Since the latest visit, if in the last 180 days.",
        null_means=f"no visit in the last 180 days, or {_NO_MART}",
        needs="fct_events",
    ),
    Feature(
        name="product_views_90d",
        type="bigint",
        unit="views",
        description="Products viewed in the last 90 days.",
        null_means=_NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="add_to_carts_90d",
        type="bigint",
        unit="events",
        description="Products put into the cart in the last 90 days.",
        null_means=_NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="emails_sent_180d",
        type="bigint",
        unit="e-mails",
        description="E-mails sent to the customer in the last 180 days.",
        null_means=_NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="email_opens_180d",
        type="bigint",
        unit="e-mails",
        description="E-mails opened in the last 180 days.",
        null_means=_NO_MART,
        needs="fct_events",
    ),
)

CUSTOMER_FEATURES = FeatureTable(
    name="customer_features",
    grain="A registered customer on an as-of date, from data strictly before that date.",
    key=("customer_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        Column(name="customer_id", type="string", description="The customer."),
        Column(name="as_of_date", type="date", description="The row holds what was known before this day (UTC)."),
    ),
    features=_FEATURES,
)
"""All features of a customer; a shop has those `of` its marts."""
