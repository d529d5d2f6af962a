"""What this location reads: the published marts that the shop has, as asset dependencies and as pinned snapshots.

Asset keys and table names are all that it knows of the other location.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.causes import failure_by_checks
from ml_assets.core.budget import panel as budget_panel
from ml_assets.core.datasets import DATASETS
from ml_assets.core.experiments.errors import ExperimentError
from ml_assets.core.features import daily_demand, order_risk
from ml_assets.core.features.customers import OPTIONAL_MARTS, REQUIRED_MARTS, Marts
from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.questions.asked import QuestionError
from ml_assets.core.registry import NoModel, RegistryDown
from ml_assets.defs.partitions import WINDOW_BEFORE

if TYPE_CHECKING:
    from cartograph.lake import Lake

FEATURES = "features.customer_features"
PRODUCT_FEATURES = "features.product_features"
INTERACTIONS = "features.customer_product_interactions"
SCORES = "predictions.churn_scores"
SEGMENTS = "predictions.customer_segments"
VALUES = "predictions.lifetime_values"
PROPENSITIES = "predictions.purchase_propensities"
ACTIONS = "predictions.next_best_actions"
RECOMMENDATIONS = "predictions.product_recommendations"
SIMILAR = "predictions.similar_products"
DEMAND = "features.daily_demand"
FORECASTS = "predictions.demand_forecasts"
EXPLANATIONS = "predictions.demand_explanations"
ADVICE = "predictions.reorder_advice"
CUSTOMERS_AS_OF = "causal.customers_as_of"
PRODUCT_WEEKS = "causal.product_weeks"
ORDER_RISK = "features.order_risk"
FRAUD_SCORES = "predictions.fraud_scores"
RESPONSE = "causal.channel_response"
BUDGET = "causal.budget_allocation"
KPIS = "serving.kpis"
KPI_CUSTOMERS = "serving.kpi_customers"

CAMPAIGN_MARTS = ("fct_events", "dim_campaigns")

_WINDOWED = frozenset(
    {
        "fct_orders",
        "fct_order_items",
        "fct_payments",
        "fct_refunds",
        "fct_reviews",
        "fct_events",
        "fct_inventory_daily",
        "fct_sessions",
        "fct_experiment_assignments",
    }
)


class Pinned(NamedTuple):
    """Tables at a fixed snapshot: a DuckDB SELECT for each by its own name, and the snapshot ids by identifier."""

    selects: Marts
    snapshots: dict[str, int]


def delivered(marts: Iterable[str]) -> tuple[str, ...]:
    """Those of `marts` that the shop has: the optional ones depend on the datasets that its sources deliver."""
    datasets = load_shop(get_settings()).datasets
    return tuple(mart for mart in marts if mart not in DATASETS or DATASETS[mart] in datasets)


def feature_marts() -> tuple[str, ...]:
    """The marts that the shop's customer features are made of."""
    return delivered((*REQUIRED_MARTS, *OPTIONAL_MARTS))


def tells_fraud() -> bool:
    """Whether the shop delivers what fraud is seen by: payments, and the refunds among which chargebacks are."""
    return delivered(order_risk.MARTS) == order_risk.MARTS


def risk_marts() -> tuple[str, ...]:
    """The marts that the features of an order's risk are made of, where the shop tells fraud."""
    return delivered((*order_risk.MARTS, *order_risk.OPTIONAL_MARTS)) if tells_fraud() else ()


def channel_marts() -> tuple[str, ...]:
    """The marts that the responses of the shop's paid channels are made of."""
    return delivered((*budget_panel.MARTS, budget_panel.CAMPAIGNS_MART))


def spends_on_channels() -> bool:
    """Whether the shop tells what it spends on paid channels."""
    return delivered(budget_panel.MARTS) == budget_panel.MARTS


def sends_campaigns() -> bool:
    """Whether the shop delivers what an e-mail campaign's effect is seen by: its events, and the campaigns."""
    return delivered(CAMPAIGN_MARTS) == CAMPAIGN_MARTS


def demand_marts() -> tuple[str, ...]:
    """The marts that the shop's daily demand is made of."""
    return delivered((*daily_demand.REQUIRED_MARTS, daily_demand.STOCK_MART))


def depends_on(marts: Iterable[str], *, as_of: bool = False) -> list[dg.AssetDep]:
    """Dependencies on published marts; with `as_of`, of as-of partitions on the window before each."""
    return [
        dg.AssetDep(
            dg.AssetKey(["published", mart]), partition_mapping=WINDOW_BEFORE if as_of and mart in _WINDOWED else None
        )
        for mart in marts
    ]


def open_lake() -> Lake:
    """The lake of the chosen shop. Imported only here: pyiceberg and pandas would double the time to load the graph."""
    from cartograph.lake import Lake

    return Lake.from_settings(get_settings())


def pin(lake: Lake, identifiers: Iterable[str]) -> Pinned:
    """The current snapshots of tables; one that was never written reads as an empty table and has no snapshot id.

    Raises:
        TableMissing: there is no such table.
    """
    chosen = list(identifiers)
    snapshots = lake.pin(chosen)
    selects = {
        identifier.split(".", 1)[1]: lake.relation_sql(identifier, snapshots.get(identifier)) for identifier in chosen
    }
    return Pinned(selects, snapshots)


def published(marts: Iterable[str]) -> list[str]:
    """The lake tables of marts."""
    return [f"published.{mart}" for mart in marts]


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn what a user can mend into a failure that says so, without a traceback."""
    from cartograph.lake import LakeError
    from cartograph.releases import RefusedRelease, ReleaseError

    try:
        yield
    except RefusedRelease as refusal:
        have_failed = all(  # now, and did not only never run
            check.basis == "current" and check.held_by is None for check in refusal.forbidden_by
        )
        checks = [
            dg.AssetCheckKey(dg.AssetKey.from_user_string(check.asset_key), check.name)
            for check in refusal.forbidden_by
        ]
        raise failure_by_checks(str(refusal), checks if have_failed else []) from None
    except (ExperimentError, LakeError, NoModel, OwnModelError, QuestionError, RegistryDown, ReleaseError) as error:
        raise dg.Failure(str(error), allow_retries=False) from None
