"""Fraud scores as an asset: the champion's probabilities for the orders of the latest partition."""

import dagster as dg

from cartograph.settings import get_settings
from ml_assets.core.features.order_leakage import latest_partition
from ml_assets.core.models import fraud
from ml_assets.core.models.fraud_scores import CONTRACT, fraud_scores
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.order_risk import KEY as RISK_KEY
from ml_assets.defs.marts import (
    FRAUD_SCORES,
    ORDER_RISK,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
    tells_fraud,
)
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import partition_of
from ml_assets.defs.scoring.steps import Shadow, look_for, predict_aside
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.order_fraud import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "fraud_scores"])
_WRONG = "coalesce(fraud_probability NOT BETWEEN 0 AND 1, true)"


@dg.definitions
def fraud_scores_definitions() -> dg.Definitions:
    """The asset and its check, where the shop delivers what they need."""
    if not tells_fraud():
        return dg.Definitions()
    return dg.Definitions(assets=[scores], asset_checks=[scores_are_probabilities])


@dg.asset(
    key=KEY,
    deps=[RISK_KEY, MODEL_KEY, *depends_on(["fct_orders"])],
    kinds={"onnx", "iceberg"},
    tags={"domain": "finance"},
    description=(
        "The probability that each order of the latest partition, unless it is cancelled, will be charged back, "
        "whether it is worth a look, and why, by the champion of the MLflow registry. These orders are too young for "
        "their chargebacks to have come. No order has a score while there is no champion."
    ),
)
def scores(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Score the orders of the latest partition and replace these in the lake."""
    lake, settings = open_lake(), get_settings()
    with plain_failures():
        inputs = pin(lake, [ORDER_RISK, *published(["fct_orders"])])
        registry = ModelRegistry(tracking.uri)
        model = registry.champion(fraud.NAME)
        lake.ensure(FRAUD_SCORES, CONTRACT, settings.partition_grain)
        with lake.connect() as con:
            risk, orders = inputs.selects["order_risk"], inputs.selects["fct_orders"]
            latest = latest_partition(con, risk, settings.partition_grain)
            if latest is None:
                return dg.MaterializeResult(metadata=table_metadata(CONTRACT, 0, inputs.snapshots))
            window = partition_of(latest)
            days = (window.start.date(), window.end.date())
            table = fraud_scores(con, risk, orders, model, days)
            with lake.overwriting(FRAUD_SCORES, window) as writer:
                writer.write(table)
            aside = Shadow(lake, FRAUD_SCORES, CONTRACT, window, risk)
            waiting = predict_aside(
                con, aside, registry, fraud.NAME, lambda one: fraud_scores(con, risk, orders, one, days)
            )
    metadata = {
        "orders_from": str(latest),
        "reviews": sum(table["is_review"].to_pylist()),
        "model_version": model.version if model else "no model yet",
        "challenger_version": waiting,
    }
    return dg.MaterializeResult(metadata=table_metadata(CONTRACT, len(table), inputs.snapshots) | metadata)


@dg.asset_check(asset=KEY, blocking=True, description="Each score is a probability, and no order is scored twice.")
def scores_are_probabilities() -> dg.AssetCheckResult:
    """Look for scores outside of [0, 1] and for repeated orders."""
    return look_for(
        _WRONG, FRAUD_SCORES, CONTRACT, "scores_are_probabilities", expected="a probability", found="not in [0, 1]"
    )
