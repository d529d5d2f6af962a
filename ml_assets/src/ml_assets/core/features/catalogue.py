"""The catalogue: what a feature is, and the one definition of each customer feature's name, type, unit and meaning.

How the values are computed is in `customers`; a test holds the two together. Features of products and of customers with
products stand in `products` and `interactions`, beside their computation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cartograph.contracts import Column, Contract
from cartograph.releases.contents import FeatureSpec


class Feature(BaseModel):
    """One feature, with the least and the greatest value that make sense.

    `null_means` is None where it is never null; `needs` names the optional mart that it is made of.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["bigint", "double"]
    unit: str
    description: str
    null_means: str | None = None
    needs: str | None = None
    minimum: float = 0
    maximum: float | None = None


_NO_ORDER = "the customer has not ordered yet"
_ONE_ORDER_DAY = "the customer has ordered on fewer than two days"
_NOT_TOLD = "the shop does not say"
_NO_CHANNEL = "no channel of an order is known"
_NO_CATEGORY = "nothing was ordered in a known category"
NO_MART = "the mart was not delivered when the row was written"

CATALOGUE: tuple[Feature, ...] = (
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
    Feature(
        name="longest_gap_days",
        type="bigint",
        unit="days",
        minimum=1,
        description="Longest time between two days with an order that follow each other.",
        null_means=_ONE_ORDER_DAY,
    ),
    Feature(
        name="gap_variation",
        type="double",
        unit="ratio",
        description="Standard deviation of the times between order days over their mean: 0 is like clockwork.",
        null_means="the customer has ordered on fewer than three days",
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
        name="mean_order_lines",
        type="double",
        unit="lines",
        description="Mean number of lines in an order.",
        null_means=_NO_ORDER,
    ),
    Feature(
        name="mean_line_amount",
        type="double",
        unit="shop currency",
        description="Mean gross amount of an order line.",
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
    Feature(
        name="coupon_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Orders with a coupon over all orders.",
        null_means=_NO_ORDER,
    ),
    Feature(
        name="mobile_order_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Orders from a mobile device over those whose device is known.",
        null_means="no device of an order is known",
    ),
    Feature(
        name="channels_count",
        type="bigint",
        unit="channels",
        minimum=1,
        description="Different marketing channels that orders came by so far.",
        null_means=_NO_CHANNEL,
    ),
    Feature(
        name="top_channel_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Orders by the most frequent channel over those whose channel is known.",
        null_means=_NO_CHANNEL,
    ),
    Feature(name="products_count", type="bigint", unit="products", description="Different products ordered so far."),
    Feature(
        name="categories_count",
        type="bigint",
        unit="categories",
        minimum=1,
        description="Different product categories ordered so far.",
        null_means=_NO_CATEGORY,
    ),
    Feature(
        name="top_category_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Worth of the favourite category over that of all ordered categories.",
        null_means=_NO_CATEGORY,
    ),
    Feature(
        name="category_diversity",
        type="double",
        unit="categories",
        minimum=1,
        description="Effective number of categories ordered: 1 over the sum of their squared shares of worth.",
        null_means=_NO_CATEGORY,
    ),
    Feature(
        name="refunds_180d",
        type="bigint",
        unit="refunds",
        description="Lines refunded in the last 180 days.",
        null_means=NO_MART,
        needs="fct_refunds",
    ),
    Feature(
        name="refunded_share",
        type="double",
        unit="ratio",
        description="Amount refunded so far over spend_amount.",
        null_means=f"nothing was spent yet, or {NO_MART}",
        needs="fct_refunds",
    ),
    Feature(
        name="visit_days_30d",
        type="bigint",
        unit="days",
        description="Days with a visit to the shop in the last 30 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="visit_days_90d",
        type="bigint",
        unit="days",
        description="Days with a visit to the shop in the last 90 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="visit_recency_days",
        type="bigint",
        unit="days",
        minimum=1,
        maximum=180,
        description="Since the latest visit, if in the last 180 days.",
        null_means=f"no visit in the last 180 days, or {NO_MART}",
        needs="fct_events",
    ),
    Feature(
        name="mobile_visit_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Of the days with a visit in the last 180, those with one from a mobile device.",
        null_means=f"no device of a visit in the last 180 days is known, or {NO_MART}",
        needs="fct_events",
    ),
    Feature(
        name="sessions_30d",
        type="bigint",
        unit="sessions",
        description="Visits begun in the last 30 days; 30 idle minutes end a visit.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="sessions_90d",
        type="bigint",
        unit="sessions",
        description="Visits begun in the last 90 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="funnel_depth_90d",
        type="double",
        unit="steps, 0 to 4",
        maximum=4,
        description="Mean of how far visits of the last 90 days came: 1 product, 2 cart, 3 checkout, 4 purchase.",
        null_means=f"no visit in the last 90 days, or {NO_MART}",
        needs="fct_events",
    ),
    Feature(
        name="abandoned_carts_90d",
        type="bigint",
        unit="sessions",
        description="Visits of the last 90 days with something put into the cart and nothing bought.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="product_views_90d",
        type="bigint",
        unit="views",
        description="Products viewed in the last 90 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="add_to_carts_90d",
        type="bigint",
        unit="events",
        description="Products put into the cart in the last 90 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="emails_sent_180d",
        type="bigint",
        unit="e-mails",
        description="E-mails sent to the customer in the last 180 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="email_opens_180d",
        type="bigint",
        unit="e-mails",
        description="E-mails opened in the last 180 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
    Feature(
        name="email_visit_days_180d",
        type="bigint",
        unit="days",
        description="Days with a visit that came by an e-mail, in the last 180 days.",
        null_means=NO_MART,
        needs="fct_events",
    ),
)
"""Every feature, in the order of the table's columns."""

KEY = ("customer_id", "as_of_date")


def available(marts: Collection[str], features: Collection[Feature] = CATALOGUE) -> tuple[Feature, ...]:
    """Those of `features` that a shop has whose optional marts are `marts`."""
    return tuple(feature for feature in features if feature.needs is None or feature.needs in marts)


def contract(features: Collection[Feature]) -> Contract:
    """The contract of the table `features.customer_features` with these features."""
    return table_contract(
        "customer_features",
        "A registered customer on an as-of date, from data strictly before that date.",
        {"customer_id": "The customer."},
        features,
    )


def table_contract(dataset: str, grain: str, entity: Mapping[str, str], features: Collection[Feature]) -> Contract:
    """The contract of a table of features; `entity` describes the columns that are its key beside the as-of date."""
    return Contract(
        dataset=dataset,
        grain=grain,
        key=(*entity, "as_of_date"),
        event_time="as_of_date",
        columns=(
            *(Column(name=name, type="string", description=meaning) for name, meaning in entity.items()),
            Column(name="as_of_date", type="date", description="The row holds what was known before this day (UTC)."),
            *(
                Column(
                    name=feature.name,
                    type=feature.type,
                    nullable=feature.null_means is not None,
                    description=describe(feature),
                )
                for feature in features
            ),
        ),
    )


def specs(names: Collection[str]) -> list[FeatureSpec]:
    """The features `names` as the inputs of a model, in that order."""
    known = {feature.name: feature for feature in CATALOGUE}
    return [
        FeatureSpec(
            name=name,
            type=known[name].type,
            description=describe(known[name]),
            nullable=known[name].null_means is not None,
            minimum=known[name].minimum,
            maximum=known[name].maximum,
        )
        for name in names
    ]


def describe(feature: Feature) -> str:
    """The feature's meaning, unit and null meaning in one line."""
    null = f" Null: {feature.null_means}." if feature.null_means else ""
    return f"{feature.description} In {feature.unit}.{null}"
