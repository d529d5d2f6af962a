"""What every scoring asset does around its own prediction: the champion, the latest as-of date, the lake's table.

What is predicted, and what its check asks for, stands in the asset's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.trust.evidence import SAMPLES, checked
from cartograph.windows import Window
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.registry import ModelRegistry, NoModel, Registered
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import as_of_window, scoring_date
from ml_assets.defs.tracking import MlflowTracking

if TYPE_CHECKING:
    from cartograph.lake import Lake

Predict = Callable[[duckdb.DuckDBPyConnection, str, Registered | None, date], pa.Table]
"""The rows for a DuckDB SELECT of the feature table, the champion if there is one, and an as-of date."""
PredictFrom = Callable[[duckdb.DuckDBPyConnection, Mapping[str, str], Registered | None, date], pa.Table]
"""The same for the SELECTs of several tables, each by its own name."""


def predict_latest(
    tracking: MlflowTracking, model_name: str, identifier: str, contract: Contract, predict: Predict
) -> dg.MaterializeResult:
    """Predict for the customers of the latest as-of date and replace its rows in the lake's table `identifier`."""

    def of_features(
        con: duckdb.DuckDBPyConnection, selects: Mapping[str, str], model: Registered | None, as_of: date
    ) -> pa.Table:
        return predict(con, selects["customer_features"], model, as_of)

    return predict_latest_from((), tracking, model_name, identifier, contract, of_features)


def predict_latest_from(
    marts: Sequence[str],
    tracking: MlflowTracking,
    model_name: str,
    identifier: str,
    contract: Contract,
    predict: PredictFrom,
) -> dg.MaterializeResult:
    """Predict for the latest as-of date from the feature table and published `marts`, and replace its rows."""
    lake, registry = open_lake(), ModelRegistry(tracking.uri)
    with plain_failures():
        inputs = pin(lake, [FEATURES, *published(marts)])
        model = registry.champion(model_name)
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            table = predict(con, inputs.selects, model, as_of)
            lake.ensure(identifier, contract, get_settings().partition_grain)
            window = as_of_window(as_of, as_of)
            with lake.overwriting(identifier, window) as writer:
                writer.write(table)
            aside = Shadow(lake, identifier, contract, window, inputs.selects["customer_features"])
            waiting = predict_aside(
                con, aside, registry, model_name, lambda model: predict(con, inputs.selects, model, as_of)
            )
    return dg.MaterializeResult(
        metadata=table_metadata(contract, len(table), inputs.snapshots)
        | {"as_of_date": str(as_of), "model_version": model.version if model else "no model yet"}
        | {"challenger_version": waiting}
    )


class Shadow(NamedTuple):
    """Beside which of the lake's tables the challenger's predictions are kept, and the window that they are of.

    `customers` is a DuckDB SELECT of a table with all known customers.
    """

    lake: Lake
    beside: str
    contract: Contract
    window: Window
    customers: str


def predict_aside(
    con: duckdb.DuckDBPyConnection,
    shadow: Shadow,
    registry: ModelRegistry,
    model_name: str,
    predict: Callable[[Registered], pa.Table],
) -> str:
    """Predict with the challenger as well, where one waits, and keep that aside; its version, or why there is none.

    Nobody acts on these rows: held against what happened they tell what the challenger would have been worth. Those of
    earlier windows stay, but for customers that are not known any more, as they were erased.
    """
    lake, beside, contract, window, customers = shadow
    identifier = shadow_of(beside)
    rows, told = contract.arrow_schema().empty_table(), "none waits"
    try:
        waiting = registry.challenger(model_name)
        if waiting is not None:
            rows, told = predict(waiting), waiting.version
    except NoModel as unusable:  # it keeps nobody from the champion's predictions
        told = str(unusable)
    if not len(rows) and not lake.exists(identifier):
        return told
    lake.ensure(identifier, contract, get_settings().partition_grain)
    still_known = (
        f"AND (customer_id IS NULL OR customer_id IN (SELECT customer_id FROM ({customers})))"
        if "customer_id" in {column.name for column in contract.columns}
        else ""
    )
    earlier = con.execute(
        f"""
        FROM ({lake.relation_sql(identifier)})
        WHERE ({contract.event_time} < $start OR {contract.event_time} >= $end) {still_known}""",
        {"start": window.start.date(), "end": window.end.date()},
    ).to_arrow_table()
    with lake.overwriting(identifier, None) as writer:
        writer.write(earlier)
        writer.write(rows)
    return told


def shadow_of(identifier: str) -> str:
    """The lake table of the challenger's predictions beside the champion's."""
    return f"{identifier}_shadow"


def look_for(
    wrong: str, identifier: str, contract: Contract, check: str, *, expected: str, found: str
) -> dg.AssetCheckResult:
    """A check that no row of a table holds the SQL condition `wrong`, and that no key of its contract is there twice.

    `expected` says what rows should have, and `found` what those have that hold it.
    """
    lake = open_lake()
    key = ", ".join(contract.key)
    with plain_failures(), lake.connect() as con:
        ((rows, distinct, number, keys),) = con.execute(
            f"""
            SELECT count(*), count(DISTINCT ({key})), count(*) FILTER ({wrong}),
                (array_agg({contract.key[0]}) FILTER ({wrong}))[:{SAMPLES}]
            FROM ({lake.relation_sql(identifier)})"""
        ).fetchall()
    return checked(
        check,
        rows == distinct and not number,
        expected=f"{rows:,} rows, each of {key} once, with {expected}",
        found=f"{rows - distinct:,} repeated, {number:,} {found}",
        samples=keys or [],
    )
