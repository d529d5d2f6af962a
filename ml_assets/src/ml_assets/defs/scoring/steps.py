"""What every scoring asset does around its own prediction: the champion, the challenger, the latest as-of date, tables.

What is predicted, and what its check asks for, stands in the asset's own module.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.registry import ModelRegistry, NoModel, Registered
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_window, scoring_date
from ml_assets.defs.tracking import MlflowTracking

if TYPE_CHECKING:
    from cartograph.lake import Lake

Predict = Callable[[duckdb.DuckDBPyConnection, str, Registered | None, date], pa.Table]
"""The rows for a DuckDB SELECT of the feature table, the champion if there is one, and an as-of date."""


def predict_latest(
    tracking: MlflowTracking, model_name: str, identifier: str, contract: Contract, predict: Predict
) -> dg.MaterializeResult:
    """Predict for the customers of the latest as-of date and replace its rows in the lake's table `identifier`."""
    lake, registry = open_lake(), ModelRegistry(tracking.uri)
    with plain_failures():
        inputs = pin(lake, [FEATURES])
        model = registry.champion(model_name)
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            as_of = scoring_date(as_of_dates(con, features))
            table = predict(con, features, model, as_of)
            lake.ensure(identifier, contract, get_settings().partition_grain)
            with lake.overwriting(identifier, as_of_window(as_of, as_of)) as writer:
                writer.write(table)
            aside = Shadow(lake, f"{identifier}_shadow", contract, features, as_of)
            waiting = predict_aside(con, aside, predict, lambda: registry.challenger(model_name))
    return dg.MaterializeResult(
        metadata=table_metadata(contract, len(table), inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
        | {"challenger_version": waiting}
    )


class Shadow(NamedTuple):
    """Where the challenger's predictions are kept, and of whom they are: `features` is a DuckDB SELECT."""

    lake: Lake
    identifier: str
    contract: Contract
    features: str
    as_of: date


def predict_aside(
    con: duckdb.DuckDBPyConnection, shadow: Shadow, predict: Predict, challenger: Callable[[], Registered | None]
) -> str:
    """Predict with the challenger as well, where one waits, and keep that aside; its version, or why there is none.

    Nobody acts on these rows: held against what happened they tell what the challenger would have been worth. Those of
    earlier as-of dates stay, but for customers that the features do not know any more, as they were erased.
    """
    lake, identifier, contract, features, as_of = shadow
    rows, told = contract.arrow_schema().empty_table(), "none waits"
    try:
        waiting = challenger()
        if waiting is not None:
            rows, told = predict(con, features, waiting, as_of), waiting.version
    except NoModel as unusable:  # it keeps nobody from the champion's predictions
        told = str(unusable)
    if not len(rows) and not lake.exists(identifier):
        return told
    lake.ensure(identifier, contract, get_settings().partition_grain)
    earlier = con.execute(
        f"""
        SELECT s.* FROM ({lake.relation_sql(identifier)}) s SEMI JOIN ({features}) f USING (customer_id, as_of_date)
        WHERE s.as_of_date <> $as_of ORDER BY as_of_date, customer_id""",
        {"as_of": as_of},
    ).to_arrow_table()
    with lake.overwriting(identifier, None) as writer:
        writer.write(earlier)
        writer.write(rows)
    return told


def look_for(wrong: str, identifier: str, check: str, *, expected: str, found: str) -> dg.AssetCheckResult:
    """A check that no row of a table holds the SQL condition `wrong`, and that no customer is there twice for a date.

    `expected` says what rows should have, and `found` what those have that hold it.
    """
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((rows, distinct, number, keys),) = con.execute(
            f"""
            SELECT count(*), count(DISTINCT (customer_id, as_of_date)), count(*) FILTER ({wrong}),
                (array_agg(customer_id) FILTER ({wrong}))[:{SAMPLES}]
            FROM ({lake.relation_sql(identifier)})"""
        ).fetchall()
    return checked(
        check,
        rows == distinct and not number,
        expected=f"{rows:,} customers and dates, each once, with {expected}",
        found=f"{rows - distinct:,} repeated, {number:,} {found}",
        samples=keys or [],
    )
