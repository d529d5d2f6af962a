"""Churn scores as an asset: the champion's probabilities for the latest as-of date."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn
from ml_assets.core.models.scoring import CONTRACT, churn_scores
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, SCORES, open_lake, pin, plain_failures
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_window, scoring_date
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
    settings = get_settings()
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES])
        model = ModelRegistry(tracking.uri).champion(churn.NAME)
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            as_of = scoring_date(as_of_dates(con, features))
            table = churn_scores(con, features, model, as_of)
        lake.ensure(SCORES, CONTRACT, settings.partition_grain)
        with lake.overwriting(SCORES, as_of_window(as_of, as_of)) as writer:
            writer.write(table)
    return dg.MaterializeResult(
        metadata=table_metadata(CONTRACT, len(table), inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
    )


@dg.asset_check(asset=KEY, blocking=True, description="Each score is a probability, and nobody is scored twice.")
def scores_are_probabilities() -> dg.AssetCheckResult:
    """Look for scores outside of [0, 1] and for repeated customers."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((rows, distinct, outside, keys),) = con.execute(
            f"""
            SELECT count(*), count(DISTINCT (customer_id, as_of_date)), count(*) FILTER ({_WRONG}),
                (array_agg(customer_id) FILTER ({_WRONG}))[:{SAMPLES}]
            FROM ({lake.relation_sql(SCORES)})"""
        ).fetchall()
    return checked(
        "scores_are_probabilities",
        rows == distinct and not outside,
        expected=f"{rows:,} customers and dates, each once, with a probability",
        found=f"{rows - distinct:,} repeated, {outside:,} not in [0, 1]",
        samples=keys or [],
    )
