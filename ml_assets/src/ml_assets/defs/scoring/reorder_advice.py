"""Reorder advice as an asset: what to order of each product now. A shop that counts no stock has no such asset."""

from datetime import date

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.daily_demand import STOCK_MART
from ml_assets.core.models.demand import predictions
from ml_assets.core.models.demand.predictions import ADVICE as CONTRACT
from ml_assets.core.registry import Registered
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.marts import ADVICE, delivered, depends_on
from ml_assets.defs.scoring.demand import predict_demand
from ml_assets.defs.scoring.demand_forecasts import KEY as FORECASTS_KEY
from ml_assets.defs.scoring.steps import look_for
from ml_assets.defs.tracking import MlflowTracking

KEY = dg.AssetKey(["predictions", "reorder_advice"])
_WRONG = """
    NOT coalesce(least(expected_units, reorder_point_units, stock_units, order_units) >= 0, false)
    OR NOT coalesce(isfinite(reorder_point_units) AND service_level BETWEEN 0 AND 1, false)
    OR abs(order_units - greatest(reorder_point_units - stock_units, 0)) > 1e-6
    OR abs(safety_stock_units - (reorder_point_units - expected_units)) > 1e-6"""


@dg.definitions
def reorder_definitions() -> dg.Definitions:
    """The asset and its check, where the shop delivers its stock."""
    if not counts_stock():
        return dg.Definitions()
    return dg.Definitions(assets=[reorder_advice], asset_checks=[advice_is_possible])


def counts_stock() -> bool:
    """Whether the shop delivers its stock."""
    return bool(delivered([STOCK_MART]))


@dg.asset(
    key=KEY,
    deps=[DEMAND_KEY, FORECASTS_KEY, *depends_on(["dim_dates"])],
    kinds={"lightgbm", "iceberg"},
    tags={"domain": "product"},
    description=(
        "What to order of each product now, so that until the next chance to order arrives nothing runs out at the "
        "shop's service level: a quantile of the demand over lead and review time together, less the stock. Terms are "
        "`replenishment` in the shop's file. There is no advice while there is no champion."
    ),
)
def reorder_advice(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Advise for the latest as-of date and replace its rows in the lake."""
    terms = predictions.terms(load_shop(get_settings()).replenishment)

    def rows_of(con: duckdb.DuckDBPyConnection, tables: Marts, model: Registered, as_of: date) -> pa.Table:
        return predictions.advice_rows(predictions.predict(con, tables, model, as_of), terms, as_of)

    return predict_demand(tracking, ADVICE, CONTRACT, rows_of)


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="No quantity is negative, each order lifts the stock to its reorder point, and no product is twice.",
)
def advice_is_possible() -> dg.AssetCheckResult:
    """Look for impossible advice and for repeated products."""
    return look_for(
        _WRONG,
        ADVICE,
        CONTRACT,
        "advice_is_possible",
        expected="an order that lifts the stock to the reorder point",
        found="impossible",
    )
