"""The panel of an e-mail campaign: who got it, what they spent after it, and what was known of them before.

Rows and columns only. Effects are estimated in `effect`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.core.causal.study import Covariates, Study, Vector
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts, column_values, feature_table

OUTCOME_DAYS = 14
OUTCOME = f"net_spend_{OUTCOME_DAYS}d"

CONFOUNDERS = (
    "registered_days",
    "loyalty_rank",
    "email_opt_in",
    "recency_days",
    "tenure_days",
    "orders_count",
    "order_days_count",
    "orders_30d",
    "orders_90d",
    "orders_180d",
    "orders_365d",
    "mean_gap_days",
    "overdue_ratio",
    "spend_amount",
    "spend_90d_amount",
    "spend_365d_amount",
    "mean_order_amount",
    "mean_order_quantity",
    "discount_share",
    "products_count",
    "refunds_180d",
    "refunded_share",
    "visit_days_30d",
    "visit_recency_days",
    "product_views_90d",
    "add_to_carts_90d",
    "emails_sent_180d",
    "email_opens_180d",
)
"""The features by which customers are chosen and that tell what they will spend: when, how often and for how much,
visits and earlier e-mail. The others have no part in it: among 1,500 customers they unbalance the arms by chance."""


class NoCampaign(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """No e-mail campaign can be asked about. The message says what is there and the cure."""


class Campaign(NamedTuple):
    """An e-mail campaign: its recipients, and the moments of its first and last e-mail (UTC)."""

    campaign_id: str
    recipients: int
    first_sent: datetime
    last_sent: datetime

    @property
    def as_of(self) -> date:
        """The day of the first e-mail: what was known before it began cannot be caused by the campaign."""
        return self.first_sent.astimezone(UTC).date()


class Panel(NamedTuple):
    """One row for each customer who could have got the e-mail.

    `treated` is 0 or 1; `outcome` the net spend in the 14 days from the first e-mail on and `previous` that in the 14
    days before it, in the shop's currency; `confounders` (float32, NaN for null) are those of the features
    `CONFOUNDERS` that vary, `names`. `rows` has for each customer all features, and of those 14 days `orders_after`,
    `margin_after`, and `costed_after`: the net spend on what the shop knows the cost of.
    """

    campaign: Campaign
    names: tuple[str, ...]
    confounders: npt.NDArray[np.float32]
    treated: npt.NDArray[np.int64]
    outcome: Vector
    previous: Vector
    rows: pa.Table

    @property
    def study(self) -> Study:
        """The question's rows; what was spent before is a negative control."""
        return Study(
            treatment=self.treated.astype(np.float64),
            outcome=self.outcome,
            confounders=Covariates(self.names, self.confounders.astype(np.float64)),
            placebo_outcomes={"earlier_outcome": self.previous},
        )


def email_campaigns(con: duckdb.DuckDBPyConnection, marts: Marts) -> list[Campaign]:
    """The campaigns that sent e-mail to known customers, those with the most recipients first."""
    rows = con.execute(f"""
        SELECT campaign_id, count(DISTINCT e.customer_id), min(e.occurred_at), max(e.occurred_at)
        FROM ({marts["fct_events"]}) e JOIN ({marts["dim_campaigns"]}) c USING (campaign_id)
        WHERE e.event_type = 'email_sent' AND e.customer_id IS NOT NULL
        GROUP BY campaign_id ORDER BY 2 DESC, 1""").fetchall()
    return [Campaign(*row) for row in rows]


def complete(campaigns: list[Campaign], data_end: date, days: int = OUTCOME_DAYS) -> list[Campaign]:
    """Those of `campaigns` whose outcomes, of so many `days`, are all in the data.

    Raises:
        NoCampaign: there is none.
    """
    found = [c for c in campaigns if c.as_of + timedelta(days=days + 1) <= data_end]
    if not found:
        known = ", ".join(c.campaign_id for c in campaigns) or "none"
        raise NoCampaign(
            f"No e-mail campaign has {days} whole days of orders after its first e-mail: the data end on "
            f"{data_end}, and the campaigns with e-mails are: {known}. Load later orders, or e-mail events."
        )
    return found


def choose(campaigns: list[Campaign], wanted: str, data_end: date) -> Campaign:
    """The campaign `wanted`, or else the one with the most recipients, of those whose outcomes are all in the data.

    Raises:
        NoCampaign: there is none.
    """
    found = complete(campaigns, data_end)
    return next((campaign for campaign in found if campaign.campaign_id == wanted), found[0])


def panel(con: duckdb.DuckDBPyConnection, marts: Marts, campaign: Campaign) -> Panel:
    """The panel of `campaign`: customers registered before it who had not refused e-mail.

    Net spend is what standing (not cancelled) order lines came to after discounts; refunds, which follow weeks later,
    and shipping are not in it. All of the shop's customers count who had allowed e-mail on the as-of date, or all
    where it does not say.
    """
    features = feature_table(con, {k: v for k, v in marts.items() if k != "dim_campaigns"}, [campaign.as_of])
    con.register("panel_features", features)
    try:
        rows = con.execute(
            f"""
            WITH sent AS (
                SELECT DISTINCT customer_id FROM ({marts["fct_events"]})
                WHERE event_type = 'email_sent' AND campaign_id = $campaign
            ), spent AS (
                SELECT customer_id,
                    sum(net_amount) FILTER (ordered_at >= $start) AS outcome,
                    sum(net_amount) FILTER (ordered_at < $start) AS previous,
                    count(DISTINCT order_id) FILTER (ordered_at >= $start) AS orders,
                    sum(margin_amount) FILTER (ordered_at >= $start) AS margin,
                    sum(net_amount) FILTER (ordered_at >= $start AND margin_amount IS NOT NULL) AS costed
                FROM ({marts["fct_order_items"]})
                WHERE NOT is_cancelled AND ordered_at >= $before AND ordered_at < $after GROUP BY ALL
            )
            SELECT f.*, CAST(sent.customer_id IS NOT NULL AS BIGINT) AS treated,
                coalesce(outcome, 0)::DOUBLE AS outcome, coalesce(previous, 0)::DOUBLE AS previous,
                coalesce(orders, 0) AS orders_after, coalesce(margin, 0)::DOUBLE AS margin_after,
                coalesce(costed, 0)::DOUBLE AS costed_after
            FROM panel_features f LEFT JOIN sent USING (customer_id) LEFT JOIN spent USING (customer_id)
            WHERE f.email_opt_in IS DISTINCT FROM 0 ORDER BY f.customer_id""",
            {
                "campaign": campaign.campaign_id,
                "start": campaign.first_sent,
                "before": campaign.first_sent - timedelta(days=OUTCOME_DAYS),
                "after": campaign.first_sent + timedelta(days=OUTCOME_DAYS),
            },
        ).to_arrow_table()
    finally:
        con.unregister("panel_features")
    names = tuple(
        f.name for f in CUSTOMER_FEATURES.of(marts).features if f.name in CONFOUNDERS and _varies(rows[f.name])
    )
    return Panel(
        campaign=campaign,
        names=names,
        confounders=column_values(rows, names),
        treated=rows["treated"].to_numpy(),
        outcome=rows["outcome"].to_numpy(),
        previous=rows["previous"].to_numpy(),
        rows=rows,
    )


def _varies(column: pa.ChunkedArray) -> bool:
    return len(column.unique()) > 1
