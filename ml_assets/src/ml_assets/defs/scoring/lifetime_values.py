"""Lifetime values as an asset: the champion's predictions for the latest as-of date."""

import dagster as dg

from ml_assets.core.models import clv
from ml_assets.core.models.lifetime_values import CONTRACT, lifetime_values
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import VALUES
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.customer_lifetime_value import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "lifetime_values"])
_WRONG = """
    coalesce(alive_probability NOT BETWEEN 0 AND 1, true)
    OR NOT coalesce(least(expected_orders_90d, expected_order_amount, expected_revenue_365d) >= 0, false)
    OR NOT coalesce(expected_orders_365d >= expected_orders_90d AND isfinite(lifetime_value_amount), false)"""


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY],
    kinds={"iceberg"},
    tags={"domain": "customer"},
    description=(
        f"What each customer who has ordered will order in the next {clv.HORIZON_DAYS} days and what that is worth, "
        "on the latest as-of date, by the champion of the MLflow registry. Nobody has a value while there is none."
    ),
)
def values(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Value the customers of the latest as-of date and replace its rows in the lake."""
    return predict_latest(tracking, clv.NAME, VALUES, CONTRACT, lifetime_values)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each value is a finite amount, each expectation possible, and nobody is valued twice.",
)
def values_are_possible() -> dg.AssetCheckResult:
    """Look for impossible predictions and for repeated customers."""
    return look_for(_WRONG, VALUES, CONTRACT, "values_are_possible", expected="possible values", found="impossible")
