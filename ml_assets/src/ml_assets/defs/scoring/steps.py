"""What every scoring asset does around its own prediction: the champion, the latest as-of date, the lake's table.

What is predicted, and what its check asks for, stands in the asset's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.registry import ModelRegistry, Registered
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_window, scoring_date
from ml_assets.defs.tracking import MlflowTracking

Predict = Callable[[duckdb.DuckDBPyConnection, str, Registered | None, date], pa.Table]
"""The rows for a DuckDB SELECT of the feature table, the champion if there is one, and an as-of date."""

CUSTOMER_DATES = ("customer_id", "as_of_date")


def predict_latest(
    tracking: MlflowTracking, model_name: str, identifier: str, contract: Contract, predict: Predict
) -> dg.MaterializeResult:
    """Predict for the customers of the latest as-of date and replace its rows in the lake's table `identifier`."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES])
        model = ModelRegistry(tracking.uri).champion(model_name)
        with lake.connect() as con:
            features = inputs.selects["customer_features"]
            as_of = scoring_date(as_of_dates(con, features))
            table = predict(con, features, model, as_of)
        lake.ensure(identifier, contract, get_settings().partition_grain)
        with lake.overwriting(identifier, as_of_window(as_of, as_of)) as writer:
            writer.write(table)
    return dg.MaterializeResult(
        metadata=table_metadata(contract, len(table), inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
    )


def look_for(
    wrong: str, identifier: str, check: str, *, expected: str, found: str, key: Sequence[str] = CUSTOMER_DATES
) -> dg.AssetCheckResult:
    """A check that no row of a table holds the SQL condition `wrong`, and that none of `key` is there twice.

    `expected` says what rows should have, and `found` what those have that hold it. The first of `key` is the noun that
    the rows are about, as `customer_id`.
    """
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        ((rows, distinct, number, keys),) = con.execute(
            f"""
            SELECT count(*), count(DISTINCT ({", ".join(key)})), count(*) FILTER ({wrong}),
                (array_agg({key[0]}) FILTER ({wrong}))[:{SAMPLES}]
            FROM ({lake.relation_sql(identifier)})"""
        ).fetchall()
    return checked(
        check,
        rows == distinct and not number,
        expected=f"{rows:,} {key[0].removesuffix('_id')}s and dates, each once, with {expected}",
        found=f"{rows - distinct:,} repeated, {number:,} {found}",
        samples=keys or [],
    )
