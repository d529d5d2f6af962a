"""Explanations of the demand forecasts as an asset: what moves each product's first week up or down."""

import dagster as dg

from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.models.demand.predictions import EXPLANATIONS as CONTRACT
from ml_assets.core.models.demand.predictions import explain
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.marts import EXPLANATIONS, FORECASTS, depends_on, open_lake, plain_failures
from ml_assets.defs.scoring.demand import predict_demand
from ml_assets.defs.scoring.demand_forecasts import KEY as FORECASTS_KEY
from ml_assets.defs.tracking import MlflowTracking

KEY = dg.AssetKey(["predictions", "demand_explanations"])
TOLERANCE = 1e-6
"""Of logarithms: a millionth of the forecast."""


@dg.asset(
    key=KEY,
    deps=[DEMAND_KEY, FORECASTS_KEY, *depends_on(["dim_dates"])],
    kinds={"lightgbm", "iceberg"},
    tags={"domain": "product"},
    description=(
        "Why the champion expects of each product on offer what it does in the first week: by how much its usual "
        "demand and each feature move the logarithm of the expected units. Nothing is explained while there is no "
        "champion."
    ),
)
def demand_explanations(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Explain the forecasts of the latest as-of date and replace their rows in the lake."""
    return predict_demand(tracking, EXPLANATIONS, CONTRACT, explain, aside=False)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each forecast is explained, and what is said to move it adds up to it.",
)
def explanations_add_up() -> dg.AssetCheckResult:
    """Hold the sums against the mean forecasts of the same days."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((products, wrong, samples),) = con.execute(
            f"""
            WITH explained AS (
                SELECT product_id, as_of_date, demand_model_version, any_value(base_value) + sum(contribution) AS total
                FROM ({lake.relation_sql(EXPLANATIONS)}) GROUP BY ALL
            ), forecast AS (
                SELECT product_id, as_of_date, demand_model_version,
                    avg(ln(mean_units)) FILTER (forecast_date < as_of_date + 7) AS total
                FROM ({lake.relation_sql(FORECASTS)})
                WHERE as_of_date = (SELECT max(as_of_date) FROM ({lake.relation_sql(FORECASTS)})) GROUP BY ALL
            ), held AS (
                SELECT product_id, NOT coalesce(abs(e.total - f.total) <= {TOLERANCE}, false) AS is_wrong
                FROM forecast f LEFT JOIN explained e USING (product_id, as_of_date, demand_model_version)
            )
            SELECT count(*), count(*) FILTER (is_wrong),
                (array_agg(product_id ORDER BY product_id) FILTER (is_wrong))[:{SAMPLES}]
            FROM held"""
        ).fetchall()
    return checked(
        "explanations_add_up",
        not wrong,
        expected=f"{products:,} forecasts, each with an explanation that adds up to it",
        found=f"{wrong:,} without",
        samples=samples or [],
    )
