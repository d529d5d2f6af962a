"""Customer segments as an asset: the champion's segment of each customer on the latest as-of date."""

import dagster as dg

from ml_assets.core.models import segments
from ml_assets.core.models.customer_segments import CONTRACT, customer_segments
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import SEGMENTS
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.customer_segments import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "customer_segments"])
_WRONG = "coalesce(segment_number < 1 OR length(behaviour_segment) = 0, true)"


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY],
    kinds={"iceberg"},
    tags={"domain": "customer"},
    description=(
        "The way in which each customer who has ordered buys, on the latest as-of date, by the champion of the MLflow "
        "registry. Who has ordered seldom gets the segment that is nearest. Nobody has one while there is no champion."
    ),
)
def assigned(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Assign the customers of the latest as-of date and replace its rows in the lake."""
    return predict_latest(tracking, segments.NAME, SEGMENTS, CONTRACT, customer_segments)


@dg.asset_check(asset=KEY, blocking=True, description="Each customer has one segment, which has a number and a name.")
def segments_are_named() -> dg.AssetCheckResult:
    """Look for segments without a number or a name and for repeated customers."""
    return look_for(_WRONG, SEGMENTS, CONTRACT, "segments_are_named", expected="a named segment", found="without one")
