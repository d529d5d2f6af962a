"""The fraud model as an asset: trained, exported, tracked in MLflow, registered, and held against rules.

A shop that delivers no payments or no refunds has no such asset.
"""

from functools import partial
from typing import Any

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.features.order_leakage import latest_partition
from ml_assets.core.models import fraud
from ml_assets.core.models.contests import fraud_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_fraud
from ml_assets.core.models.fraud_training import Trained, train_fraud
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.order_risk import KEY as RISK_KEY
from ml_assets.defs.marts import ORDER_RISK, depends_on, open_lake, pin, plain_failures, published, tells_fraud
from ml_assets.defs.partitions import partition_of
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import (
    ENOUGH_DATA,
    Candidate,
    abstention,
    described,
    enough_spec,
    leak_result,
    leak_spec,
    parity_result,
    parity_spec,
    register,
    track,
    tracked,
)

KEY = dg.AssetKey(["models", fraud.NAME])
MARTS = ("fct_orders", "fct_refunds")
MEASURE, LEAKING = "average precision", 0.95
"""Where frauds are rare, an AUC of 0.95 is what a sound feature may have; this precision is what a leak has."""
MISCALIBRATION = 1.5
"""Largest ratio of expected to observed frauds, or the reverse: two standard errors of 25 frauds."""


@dg.definitions
def order_fraud_definitions() -> dg.Definitions:
    """The asset, where the shop delivers what it needs."""
    return dg.Definitions(assets=[order_fraud] if tells_fraud() else [])


@dg.asset(
    key=KEY,
    deps=[RISK_KEY, *depends_on(MARTS)],
    kinds={"scikitlearn", "onnx", "mlflow"},
    tags={"domain": "finance"},
    check_specs=[
        enough_spec(KEY),
        dg.AssetCheckSpec(
            "beats_rules",
            asset=KEY,
            blocking=True,
            description=(
                "Its average precision (AUPRC) is above that of rules on velocity, delivery, amount, sharing, beyond "
                "chance."
            ),
        ),
        dg.AssetCheckSpec(
            "expected_loss_below_rules",
            asset=KEY,
            description="Frauds that are missed and reviews of what it flags cost less than the rules' do.",
        ),
        parity_spec(KEY),
        leak_spec(KEY, MEASURE, LEAKING),
        dg.AssetCheckSpec(
            "is_calibrated",
            asset=KEY,
            description=f"As many frauds come as were expected, within a factor of {MISCALIBRATION}.",
        ),
    ],
    description=(
        "Predicts which orders will be charged back, when they are placed. Gradient-boosted trees with sigmoid "
        f"calibration; a label counts only {fraud.MATURITY_DAYS} days after the order, and training knows only what "
        "was known when the holdout began. Kept as ONNX in the MLflow registry."
    ),
)
def order_fraud(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Train, track, register; the version becomes the champion if the gate says so."""
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [ORDER_RISK, *published(MARTS)])
        with lake.connect() as con:
            risk, start = inputs.selects["order_risk"], load_shop(get_settings()).start
            latest = latest_partition(con, risk, get_settings().partition_grain)
            end = partition_of(latest).end.date() if latest else start
            orders, refunds = (inputs.selects[mart] for mart in MARTS)
            try:
                trained = train_fraud(con, risk, orders, refunds, data_start=start, data_end=end)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            fitted = parameters(trained)
            track(mlflow_run, fitted, measures(trained), inputs.snapshots, data_end=end)
            checks = judge(trained)
            candidate = Candidate(
                fraud.NAME,
                trained.form.content,
                trained.card,
                "onnx",
                partial(fraud_contest, con, risk, orders, refunds, trained),
                parameters=fitted,
                findings=of_fraud(trained),
            )
            version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: Trained) -> dict[str, Any]:
    """What the model was trained with."""
    return {
        **fraud.PARAMETERS,
        **{f"split_{name}": day for name, day in trained.split._asdict().items()},
        "calibration": "sigmoid",
        "maturity_days": fraud.MATURITY_DAYS,
        "review_cost": fraud.REVIEW_COST,
        "training_rows": trained.training_rows,
        "training_frauds": trained.training_frauds,
        "rules_needed": trained.rules_needed,
        "features": len(trained.names),
    }


def measures(trained: Trained) -> dict[str, float]:
    """How good it is, its baselines, and how far its export is from it."""
    return tracked(trained.metrics, trained.baselines, trained.form)


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks of a trained model."""
    model, rules, gain, loss = trained.precision, trained.rules_precision, trained.gain, trained.loss
    observed = trained.scores.positives
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and frauds",
            found=f"{trained.training_frauds} frauds in {trained.training_rows} orders to train on",
        ),
        checked(
            "beats_rules",
            gain.low > 0,
            expected=f"an average precision above {rules.value:.3f}, that of the rules, beyond chance",
            found=f"{model.value:.3f}: {gain.value:+.3f}, from {gain.low:+.3f} to {gain.high:+.3f}",
            metadata={
                "auprc": model.value,
                "rules_auprc": rules.value,
                "prior_rate": trained.prior,
                "gain_low": gain.low,
                "gain_high": gain.high,
            },
        ),
        checked(
            "expected_loss_below_rules",
            loss.model < loss.rules,
            expected=f"a loss below {loss.rules:,.2f}, that of the rules",
            found=f"{loss.model:,.2f}; without any review {loss.nothing:,.2f}",
            severity="warning",
            metadata=loss._asdict(),
        ),
        parity_result(trained.form),
        leak_result(trained.alone, MEASURE, LEAKING),
        checked(
            "is_calibrated",
            1 / MISCALIBRATION <= trained.expected / observed <= MISCALIBRATION,
            expected=f"{observed} frauds, within a factor of {MISCALIBRATION}",
            found=f"{trained.expected:.1f} expected",
            severity="warning",
            metadata={"expected_frauds": trained.expected, "observed_frauds": observed},
        ),
    ]


def metadata(trained: Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    split, scores = trained.split, trained.scores
    return {
        **described(version, trained.training_rows, scores, trained.baselines, snapshots),
        "training_frauds": trained.training_frauds,
        "training_days": f"{split.training} to {split.trained_until}",
        "holdout_days": f"{split.holdout} to {split.until}",
        "holdout_frauds": scores.positives,
        "auprc": trained.precision.value,
        "auprc_interval": f"{trained.precision.low:.3f} to {trained.precision.high:.3f}",
        "recall_at_1pct_fpr": trained.recall,
    }
