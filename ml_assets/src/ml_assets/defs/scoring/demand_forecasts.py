"""Demand forecasts as an asset: the champion's, for each product on offer and each of the days ahead."""

from datetime import date

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.demand.forecaster import INTERVAL
from ml_assets.core.models.demand.predictions import FORECASTS as CONTRACT
from ml_assets.core.models.demand.predictions import forecast_rows, predict, realised
from ml_assets.core.registry import Registered
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.marts import DEMAND, FORECASTS, depends_on, open_lake, plain_failures
from ml_assets.defs.scoring.demand import predict_demand
from ml_assets.defs.scoring.steps import look_for
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.demand_forecaster import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "demand_forecasts"])
_WRONG = """
    NOT coalesce(0 <= low_units AND low_units <= p25_units AND p25_units <= median_units
        AND median_units <= p75_units AND p75_units <= high_units AND isfinite(high_units), false)
    OR NOT coalesce(mean_units >= 0 AND isfinite(mean_units), false)"""
TOTAL_WITHIN, COVERAGE_WITHIN = 0.25, 0.10
"""How far a single forecast may be off in total, and its interval from 90 %: its days err together, as a sale that
nobody foretold lifts all of them."""


@dg.asset(
    key=KEY,
    deps=[DEMAND_KEY, MODEL_KEY, *depends_on(["dim_dates"])],
    kinds={"lightgbm", "iceberg"},
    tags={"domain": "product"},
    description=(
        "The units that will be asked for of each product on offer, on each of the days from the latest as-of date on: "
        "mean, quartiles and an interval that holds 90 % of such days, by the champion of the MLflow registry. "
        "Nothing is forecast while there is none."
    ),
)
def demand_forecasts(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Forecast from the latest as-of date on and replace its rows in the lake."""

    def rows_of(con: duckdb.DuckDBPyConnection, tables: Marts, model: Registered, as_of: date) -> pa.Table:
        return forecast_rows(predict(con, tables, model, as_of), as_of)

    return predict_demand(tracking, FORECASTS, CONTRACT, rows_of)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="No forecast is negative, quantiles rise, and no product has a day twice.",
)
def forecasts_are_possible() -> dg.AssetCheckResult:
    """Look for impossible forecasts and for repeated days."""
    return look_for(
        _WRONG,
        FORECASTS,
        CONTRACT,
        "forecasts_are_possible",
        expected="rising quantiles of 0 or more",
        found="impossible",
    )


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="Each product has a forecast for each day from its as-of date to the last, and all have the same last.",
)
def horizon_is_complete() -> dg.AssetCheckResult:
    """Look for products whose days do not begin at the as-of date, have a gap, or end before those of others."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((products, wrong, samples),) = con.execute(
            f"""
            WITH spans AS (
                SELECT product_id, as_of_date, count(*) AS days, min(forecast_date) AS first, max(forecast_date) AS last
                FROM ({lake.relation_sql(FORECASTS)}) GROUP BY product_id, as_of_date
            ), held AS (
                SELECT *, first <> as_of_date OR days <> max(days) OVER one
                    OR last - first + 1 <> max(days) OVER one AS is_wrong
                FROM spans WINDOW one AS (PARTITION BY as_of_date)
            )
            SELECT count(*), count(*) FILTER (is_wrong),
                (array_agg(product_id || ' from ' || as_of_date ORDER BY product_id) FILTER (is_wrong))[:{SAMPLES}]
            FROM held"""
        ).fetchall()
    return checked(
        "horizon_is_complete",
        not wrong,
        expected=f"{products:,} products and as-of dates, each with all days from that date on",
        found=f"{wrong:,} with other days",
        samples=samples or [],
    )


@dg.asset_check(
    asset=KEY,
    description=(
        "What came after the latest as-of date of which that is known was forecast, within "
        f"{TOTAL_WITHIN:.0%} in total, and lay in the intervals as often as these say, within {COVERAGE_WITHIN:.0%}."
    ),
)
def forecasts_came_true() -> dg.AssetCheckResult:
    """Hold the latest forecasts that can be judged against the demand that came."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        demand = lake.relation_sql(DEMAND)
        ((known_until,),) = con.execute(f"SELECT max(demand_date) + 1 FROM ({demand})").fetchall()
        found = realised(con, lake.relation_sql(FORECASTS), demand, known_until) if known_until else None
    if found is None:
        return checked(
            "forecasts_came_true",
            True,
            expected="forecasts of days that are over",
            found="none",
            description="cannot judge yet: of no forecast it is known what came",
        )
    return checked(
        "forecasts_came_true",
        abs(found.off) <= TOTAL_WITHIN and abs(found.coverage - INTERVAL) <= COVERAGE_WITHIN,
        expected=f"{found.came:,.0f} units, within {TOTAL_WITHIN:.0%}, and {INTERVAL:.0%} of days in their interval",
        found=f"{found.expected:,.0f} forecast on {found.as_of}, {found.off:+.1%}; {found.coverage:.1%} in theirs",
        severity="warning",
        metadata={"off": found.off, "interval_coverage": found.coverage, "product_days": found.days},
    )
