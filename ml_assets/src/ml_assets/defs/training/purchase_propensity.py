"""The purchase propensity as an asset: trained, exported, tracked in MLflow, registered, and held against rules."""

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.models import propensity
from ml_assets.core.models.about import ABOUT
from ml_assets.core.models.classifier_training import Trained
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import depends_on
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training import classifiers

KEY = dg.AssetKey(["models", propensity.NAME])
LIFT = 3.0
"""So many times as many should buy of the best tenth as of all; the most there can be is 1 over the share that buys."""
REACHABLE = 0.7
"""Where more than a fifth of the customers buy, the part of that most which is asked for."""


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(["fct_orders"])],
    kinds={"scikitlearn", "onnx", "mlflow"},
    tags={"domain": "customer"},
    check_specs=[
        *classifiers.check_specs(KEY, "ranking by recency, and of ranking by frequency"),
        dg.AssetCheckSpec(
            "top_decile_lift",
            asset=KEY,
            description=(
                f"Of its best tenth {LIFT:g} times as many buy as of all customers; where so many buy that this is "
                f"hardly possible, {REACHABLE:.0%} of what is."
            ),
        ),
    ],
    description=(
        f"Predicts which of all customers will order in the next {propensity.HORIZON_DAYS} days, active or not. "
        "Gradient-boosted trees with sigmoid calibration, trained on early as-of dates, evaluated on the latest whose "
        "outcome is known, kept as ONNX in the MLflow registry. Who would order anyway ranks high: it is no ranking of "
        "whom to send an e-mail."
    ),
)
def purchase_propensity(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Train, judge and register the purchase propensity."""
    return classifiers.train_and_register(context, tracking, propensity.QUESTION, judge, ABOUT[propensity.NAME])


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of all classifiers, and the lift of the best tenth."""
    scores = trained.scores
    most = min(10.0, scores.rows / scores.positives)
    wanted = min(LIFT, REACHABLE * most)
    return [
        *classifiers.judge(trained),
        checked(
            "top_decile_lift",
            scores.lift >= wanted,
            expected=f"a lift of at least {wanted:.2f}; {most:.2f} is the most there can be",
            found=f"{scores.lift:.2f}",
            severity="warning",
            metadata={"lift": scores.lift},
        ),
    ]
