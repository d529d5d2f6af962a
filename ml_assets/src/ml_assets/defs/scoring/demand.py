"""What forecasts and reorder advice share: the champion's prediction for the latest as-of date, and its place in the
lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.demand.training import NAME
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.registry import ModelRegistry, Registered
from ml_assets.defs.marts import DEMAND, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_after, as_of_window
from ml_assets.defs.scoring.steps import Shadow, predict_aside
from ml_assets.defs.tracking import MlflowTracking


def latest_as_of(con: duckdb.DuckDBPyConnection, tables: Marts) -> date:
    """The as-of date up to which the table of daily demand is complete.

    Raises:
        NotEnoughData: the table is empty.
    """
    ((last,),) = con.execute(f"SELECT max(demand_date) FROM ({tables['daily_demand']})").fetchall()
    if last is None:
        raise NotEnoughData("Nothing was ever ordered: there is no demand to forecast. Load orders.")
    return as_of_after(last)


RowsOf = Callable[[duckdb.DuckDBPyConnection, Marts, Registered, date], pa.Table]
"""The rows that a model gives from an as-of date on, by SELECTs of daily demand and of the calendar."""


def predict_demand(
    tracking: MlflowTracking, identifier: str, contract: Contract, rows_of: RowsOf, *, aside: bool = True
) -> dg.MaterializeResult:
    """Predict from the latest as-of date on and replace its rows in the lake's table; none without a champion.

    What the challenger says is kept `aside`.
    """
    lake, rows, as_of, waiting = open_lake(), 0, None, "none waits"
    with plain_failures():
        inputs, registry = pin(lake, [DEMAND, *published(["dim_dates"])]), ModelRegistry(tracking.uri)
        model = registry.champion(NAME)
        lake.ensure(identifier, contract, get_settings().partition_grain)
        if model:
            with lake.connect() as con:
                as_of = latest_as_of(con, inputs.selects)
                table, window = rows_of(con, inputs.selects, model, as_of), as_of_window(as_of, as_of)
                with lake.overwriting(identifier, window) as writer:
                    writer.write(table)
                if aside:
                    shadow = Shadow(lake, identifier, contract, window, inputs.selects["daily_demand"])
                    waiting = predict_aside(
                        con, shadow, registry, NAME, lambda one: rows_of(con, inputs.selects, one, as_of)
                    )
            rows = len(table)
    return dg.MaterializeResult(
        metadata=table_metadata(contract, rows, inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
        | {"challenger_version": waiting}
    )
