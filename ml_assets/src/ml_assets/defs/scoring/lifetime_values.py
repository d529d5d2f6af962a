"""Lifetime values as an asset: the champion's predictions for the latest as-of date."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import clv
from ml_assets.core.models.lifetime_values import CONTRACT, lifetime_values
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, VALUES, open_lake, pin, plain_failures
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_window, scoring_date
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
    settings = get_settings()
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES])
        model = ModelRegistry(tracking.uri).champion(clv.NAME)
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            as_of = scoring_date(as_of_dates(con, features))
            table = lifetime_values(con, features, model, as_of)
        lake.ensure(VALUES, CONTRACT, settings.partition_grain)
        with lake.overwriting(VALUES, as_of_window(as_of, as_of)) as writer:
            writer.write(table)
    return dg.MaterializeResult(
        metadata=table_metadata(CONTRACT, len(table), inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
    )


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each value is a finite amount, each expectation possible, and nobody is valued twice.",
)
def values_are_possible() -> dg.AssetCheckResult:
    """Look for impossible predictions and for repeated customers."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((rows, distinct, impossible, keys),) = con.execute(
            f"""
            SELECT count(*), count(DISTINCT (customer_id, as_of_date)), count(*) FILTER ({_WRONG}),
                (array_agg(customer_id) FILTER ({_WRONG}))[:{SAMPLES}]
            FROM ({lake.relation_sql(VALUES)})"""
        ).fetchall()
    return checked(
        "values_are_possible",
        rows == distinct and not impossible,
        expected=f"{rows:,} customers and dates, each once, with possible values",
        found=f"{rows - distinct:,} repeated, {impossible:,} impossible",
        samples=keys or [],
    )
