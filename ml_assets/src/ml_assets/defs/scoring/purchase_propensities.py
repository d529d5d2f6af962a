"""Purchase propensities as an asset: the champion's probabilities for the latest as-of date."""

import dagster as dg

from ml_assets.core.models import propensity
from ml_assets.core.models.propensities import CONTRACT, purchase_propensities
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import PROPENSITIES
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.purchase_propensity import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "purchase_propensities"])
_WRONG = "coalesce(purchase_probability NOT BETWEEN 0 AND 1, true)"


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY],
    kinds={"onnx", "iceberg"},
    tags={"domain": "customer"},
    description=(
        f"The probability that each customer orders in the next {propensity.HORIZON_DAYS} days, on the latest as-of "
        "date, by the champion of the MLflow registry. Nobody has one while there is no champion."
    ),
)
def propensities(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Score the latest as-of date and replace its rows in the lake."""
    return predict_latest(tracking, propensity.NAME, PROPENSITIES, CONTRACT, purchase_propensities)


@dg.asset_check(asset=KEY, blocking=True, description="Each propensity is a probability, and nobody has two.")
def scores_are_probabilities() -> dg.AssetCheckResult:
    """Look for probabilities outside of [0, 1] and for repeated customers."""
    return look_for(
        _WRONG, PROPENSITIES, CONTRACT, "scores_are_probabilities", expected="a probability", found="not in [0, 1]"
    )
