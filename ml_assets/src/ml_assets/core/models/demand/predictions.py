"""What the champion says of each product: its demand on the days ahead, and what to order. Their tables' contracts.

The forecast is `forecaster`'s and the advice `reorder`'s; what the API makes of both is the release's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.shops import Replenishment
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.demand import daily
from ml_assets.core.models.demand.forecaster import INTERVAL, SEASONAL_LEVEL, Forecast, Forecaster, Vector
from ml_assets.core.models.demand.panel import DAILY
from ml_assets.core.models.demand.reorder import Terms, advise, critical_ratio
from ml_assets.core.models.demand.training import NAME
from ml_assets.core.registry import NoModel, Registered

_PRODUCT = Column(name="product_id", type="string", description="The product.")
_AS_OF = Column(name="as_of_date", type="date", description="Rests on what was known before this day (UTC).")
_VERSION = Column(name="demand_model_version", type="string", description=f"The version of models/{NAME}.")

FORECASTS = Contract(
    dataset="demand_forecasts",
    grain="A product on offer on an as-of date, and a day from then on.",
    key=("product_id", "as_of_date", "forecast_date"),
    event_time="as_of_date",
    columns=(
        _PRODUCT,
        _AS_OF,
        Column(name="forecast_date", type="date", description="The day whose demand is forecast (UTC)."),
        Column(name="mean_units", type="double", description="Expected units."),
        Column(
            name="low_units",
            type="double",
            description=f"Lower bound of the interval that holds {INTERVAL:.0%} of such days' units.",
        ),
        Column(name="p25_units", type="double", description="Less is asked for on a quarter of such days, in units."),
        Column(name="median_units", type="double", description="Less is asked for on half of such days, in units."),
        Column(name="p75_units", type="double", description="More is asked for on a quarter of such days, in units."),
        Column(name="high_units", type="double", description="Upper bound of that interval, in units."),
        _VERSION,
    ),
)

ADVICE = Contract(
    dataset="reorder_advice",
    grain="A product on offer on an as-of date whose stock is known.",
    key=("product_id", "as_of_date"),
    event_time="as_of_date",
    columns=(
        _PRODUCT,
        _AS_OF,
        Column(name="lead_days", type="bigint", description="Days from an order to its delivery."),
        Column(name="review_days", type="bigint", description="Days from one chance to order to the next."),
        Column(
            name="service_level",
            type="double",
            description="Share of the spans of lead and review time in which nothing shall run out.",
        ),
        Column(name="expected_units", type="double", description="Expected demand over lead and review time."),
        Column(name="reorder_point_units", type="double", description="Demand over both at the service level."),
        Column(name="safety_stock_units", type="double", description="Reorder point less expected demand."),
        Column(name="stock_units", type="double", description="At hand by the last count before the as-of date."),
        Column(
            name="order_units",
            type="double",
            description=(
                "To order now: reorder point less stock, at least 0. What is on order already no dataset tells: take "
                "it off."
            ),
        ),
        _VERSION,
    ),
)


EXPLANATIONS = Contract(
    dataset="demand_explanations",
    grain="A product on offer on an as-of date, and something that its forecast rests on.",
    key=("product_id", "as_of_date", "feature"),
    event_time="as_of_date",
    columns=(
        _PRODUCT,
        _AS_OF,
        Column(
            name="feature",
            type="string",
            description=f"What was known of the product; `{SEASONAL_LEVEL}` is its usual demand on such days.",
        ),
        Column(
            name="feature_value",
            type="double",
            nullable=True,
            description="Its value, the mean over the days that are explained; null where it is not known.",
        ),
        Column(
            name="contribution",
            type="double",
            description="By how much it moves the logarithm of the expected units, the mean over these days.",
        ),
        Column(
            name="base_value",
            type="double",
            description="What is said of a product of which nothing is known: the logarithm less all contributions.",
        ),
        _VERSION,
    ),
)


class Predicted(NamedTuple):
    """The forecast of the products on offer, and the stock of each (NaN where it is not known)."""

    forecast: Forecast
    stock: Vector
    version: str


def terms(replenishment: Replenishment) -> Terms:
    """The shop's terms; where it states costs, its service level is that at which they are least."""
    level = replenishment.service_level
    if replenishment.shortage_cost is not None and replenishment.holding_cost is not None:
        level = critical_ratio(shortage_cost=replenishment.shortage_cost, holding_cost=replenishment.holding_cost)
    return Terms(replenishment.lead_days, replenishment.review_days, level)


def horizon(replenishment: Replenishment) -> int:
    """How many days ahead are forecast: what is usual, or what reorder advice needs where that is more."""
    return max(DAILY.horizon, replenishment.lead_days + replenishment.review_days)


def predict(con: duckdb.DuckDBPyConnection, tables: Marts, model: Registered, as_of: date) -> Predicted:
    """The champion's forecast from `as_of` on for each product then on offer.

    Raises:
        NoModel: the model does not fit the panel.
        NotEnoughData: nothing was ordered before `as_of`.
    """
    forecaster, demand = _offered(con, tables, model, as_of)
    with _fitting(model):
        return Predicted(forecaster.predict(demand.panel, demand.origin), demand.stock, model.version)


def explain(con: duckdb.DuckDBPyConnection, tables: Marts, model: Registered, as_of: date) -> pa.Table:
    """The rows of `EXPLANATIONS`, by product, of what `predict` says of the first season.

    Raises:
        NoModel: the model does not fit the panel.
        NotEnoughData: nothing was ordered before `as_of`.
    """
    forecaster, demand = _offered(con, tables, model, as_of)
    with _fitting(model):
        found = forecaster.explain(demand.panel, demand.origin)
    schema, rows = EXPLANATIONS.arrow_schema(), found.contributions.size
    columns = [
        pa.array(np.repeat(np.array(found.series, object), len(found.names)), pa.string()),
        pa.repeat(pa.scalar(as_of), rows),
        pa.array(np.tile(np.array(found.names, object), len(found.series)), pa.string()),
        pa.array(found.values.ravel(), from_pandas=True),
        pa.array(found.contributions.ravel()),
        pa.repeat(pa.scalar(found.base), rows),
        pa.repeat(pa.scalar(model.version, pa.string()), rows),
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def _offered(
    con: duckdb.DuckDBPyConnection, tables: Marts, model: Registered, as_of: date
) -> tuple[Forecaster, daily.Demand]:
    """The model, and the products that are on offer."""
    forecaster = Forecaster.from_text(model.content.decode())
    demand = daily.read(con, tables, as_of, forecaster.horizon)
    chosen = np.flatnonzero(~demand.panel.ended(demand.origin))
    return forecaster, demand._replace(panel=demand.panel.of(chosen), stock=demand.stock[chosen])


@contextmanager
def _fitting(model: Registered) -> Iterator[None]:
    """Tell that the model does not fit the panel as NoModel."""
    try:
        yield
    except ValueError as error:
        raise NoModel(f"Version {model.version} of {NAME}: {error} Materialize models/{NAME} again.") from None


def forecast_rows(predicted: Predicted, as_of: date) -> pa.Table:
    """The rows of `FORECASTS`, by product and day."""
    forecast, schema = predicted.forecast, FORECASTS.arrow_schema()
    products, days = forecast.mean.shape
    low, high = forecast.interval()
    values = (forecast.mean, low, *(forecast.quantile(level) for level in (0.25, 0.5, 0.75)), high)
    columns = [
        pa.array(np.repeat(np.array(forecast.series, object), days), pa.string()),
        pa.repeat(pa.scalar(as_of), products * days),
        pa.array(np.tile(forecast.dates, products)),
        *(pa.array(column.ravel()) for column in values),
        pa.repeat(pa.scalar(predicted.version, pa.string()), products * days),
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def advice_rows(predicted: Predicted, terms: Terms, as_of: date) -> pa.Table:
    """The rows of `ADVICE`, by product: of those whose stock is known.

    Raises:
        NoModel: the forecast reaches less far than lead and review time.
    """
    schema, counted = ADVICE.arrow_schema(), np.flatnonzero(~np.isnan(predicted.stock))
    forecast = predicted.forecast
    stock = np.nan_to_num(predicted.stock)
    try:
        advice = advise(forecast, terms, at_hand=stock, on_order=np.zeros_like(stock))
    except ValueError as error:
        raise NoModel(f"Version {predicted.version} of {NAME}: {error} Materialize models/{NAME} again.") from None
    rows = len(counted)
    columns = [
        pa.array([forecast.series[place] for place in counted], pa.string()),
        pa.repeat(pa.scalar(as_of), rows),
        *(pa.repeat(pa.scalar(term), rows) for term in terms),
        *(pa.array(values[counted]) for values in (*advice[:3], stock, advice.order_quantity)),
        pa.repeat(pa.scalar(predicted.version, pa.string()), rows),
    ]
    return pa.table(columns, names=schema.names).cast(schema)


class Realised(NamedTuple):
    """Forecasts of one as-of date held against what came: days of products, units, and the share in the interval."""

    as_of: date
    days: int
    expected: float
    came: float
    coverage: float

    @property
    def off(self) -> float:
        """By which share of what came the forecasts were too high."""
        return self.expected / self.came - 1 if self.came else float("inf")


def realised(con: duckdb.DuckDBPyConnection, forecasts: str, daily_demand: str, known_until: date) -> Realised | None:
    """The latest as-of date of which a day's demand is known before `known_until`, held against what came.

    `forecasts` and `daily_demand` are DuckDB SELECTs. Days on which a product was not available count nowhere. None:
    of no forecast it is known yet what came.
    """
    row = con.execute(
        f"""
        SELECT as_of_date, count(*), sum(mean_units), sum(coalesce(ordered_units, 0))::DOUBLE,
            avg(CAST(coalesce(ordered_units, 0) BETWEEN low_units AND high_units AS DOUBLE))
        FROM ({forecasts}) f
        LEFT JOIN ({daily_demand}) d ON d.product_id = f.product_id AND d.demand_date = f.forecast_date
        WHERE f.forecast_date < $until AND coalesce(d.was_available, 1) = 1
        GROUP BY as_of_date ORDER BY as_of_date DESC LIMIT 1""",
        {"until": known_until},
    ).fetchone()
    return None if row is None else Realised(*row)
