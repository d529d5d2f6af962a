"""The churn model as an asset: trained, exported, tracked in MLflow, registered, and held against its baselines."""

import dagster as dg

from ml_assets.core.models import churn
from ml_assets.core.models.about import ABOUT
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import depends_on
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.classifiers import check_specs, judge, train_and_register

KEY = dg.AssetKey(["models", churn.NAME])


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "onnx", "mlflow"},
    tags={"domain": "customer"},
    check_specs=check_specs(KEY, "ranking by recency"),
    description=(
        f"Predicts who of the customers that ordered in the last {churn.ACTIVE_DAYS} days will not order in the next "
        f"{churn.HORIZON_DAYS}. Gradient-boosted trees with sigmoid calibration, trained on early as-of dates, "
        "evaluated on the latest whose outcome is known, kept as ONNX in the MLflow registry."
    ),
)
def churn_classifier(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Train, judge and register the churn model."""
    return train_and_register(context, tracking, churn.QUESTION, judge, ABOUT[churn.NAME])
