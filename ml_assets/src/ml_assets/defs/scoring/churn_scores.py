"""Churn scores as an asset: the champion's probabilities for the latest as-of date."""

import dagster as dg

from ml_assets.core.models import churn
from ml_assets.core.models.churn_scores import CONTRACT, churn_scores
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import SCORES
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.churn_classifier import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "churn_scores"])
_WRONG = "coalesce(churn_probability NOT BETWEEN 0 AND 1, true)"


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY],
    kinds={"onnx", "iceberg"},
    tags={"domain": "customer"},
    description=(
        f"The probability that each customer who ordered in the last {churn.ACTIVE_DAYS} days does not order in the "
        f"next {churn.HORIZON_DAYS}, on the latest as-of date, by the champion of the MLflow registry. Customers who "
        "have been silent for longer have churned already and get no score, and nobody does while there is no champion."
    ),
)
def scores(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Score the latest as-of date and replace its rows in the lake."""
    return predict_latest(tracking, churn.NAME, SCORES, CONTRACT, churn_scores)


@dg.asset_check(asset=KEY, blocking=True, description="Each score is a probability, and nobody is scored twice.")
def scores_are_probabilities() -> dg.AssetCheckResult:
    """Look for scores outside of [0, 1] and for repeated customers."""
    return look_for(
        _WRONG, SCORES, CONTRACT, "scores_are_probabilities", expected="a probability", found="not in [0, 1]"
    )
