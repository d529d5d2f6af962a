"""What feature assets do around their own computation: the as-of dates of the run, the lake, how checks are told.

What the features are, and how they are computed, stands in `ml_assets.core.features`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.settings import get_settings
from cartograph.trust.evidence import checked
from ml_assets.core.features import leakage
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.definition import FeatureTable
from ml_assets.core.features.leakage import Leakage
from ml_assets.core.features.reconciliation import Reconciled
from ml_assets.defs.marts import open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import markdown_table, table_metadata
from ml_assets.defs.partitions import as_of_date, as_of_window

NO_FUTURE = "nothing_from_the_future"
RECONCILE = "features_reconcile"
GUARDED = (
    "Features computed from marts that end at the as-of date are the same rows: those in the table on the latest as-of "
    "date, and those of a date in the middle, which has much to leak."
)

Compute = Callable[[duckdb.DuckDBPyConnection, Marts, Collection[date]], Iterator[pa.Table]]
"""The features of as-of dates from marts, some at a time."""


def materialize(
    context: dg.AssetExecutionContext, identifier: str, features: FeatureTable, marts: Sequence[str], compute: Compute
) -> dg.MaterializeResult:
    """Compute the features of the run's as-of dates and replace these dates in the lake, as one commit."""
    settings = get_settings()
    lake = open_lake()
    dates = sorted(as_of_date(key) for key in context.partition_keys)
    contract = features.contract()
    rows = 0
    with plain_failures():
        inputs = pin(lake, published(marts))
        lake.ensure(identifier, contract, settings.partition_grain)
        with lake.connect() as con, lake.overwriting(identifier, as_of_window(dates[0], dates[-1])) as writer:
            for table in compute(con, inputs.selects, dates):
                writer.write(table)
                rows += len(table)
    return dg.MaterializeResult(
        metadata=table_metadata(contract, rows, inputs.snapshots)
        | {"as_of_dates": len(dates), "features": len(features.features)}
    )


def guard(identifier: str, marts: Sequence[str], compute: leakage.Compute) -> dg.AssetCheckResult:
    """Hold two as-of dates of a feature table against what was known then."""
    lake = open_lake()
    with plain_failures(), lake.connect() as con:
        selects = pin(lake, published(marts)).selects
        found = leakage.guard(con, selects, lake.relation_sql(identifier), compute)
    return future_result(found, compute.__module__)


def future_result(found: Sequence[Leakage], module: str) -> dg.AssetCheckResult:
    """Whether no row knew of what came later; `module` computes the features."""
    return checked(
        NO_FUTURE,
        all(one.differing == 0 for one in found),
        expected="the same features from marts that end at their moment",
        found=f"{sum(one.differing for one in found):,} of {sum(one.rows for one in found):,} rows differ",
        samples=[f"{one.as_of}: {one.example}" for one in found if one.differing],
        description="; ".join(one.describe(module) for one in found if one.differing) or None,
        metadata={
            "dates": markdown_table(
                ("as of", "rows", "rows that differ"), [(one.as_of, one.rows, one.differing) for one in found]
            )
        },
    )


def reconciled_result(found: Reconciled | None, relation: str) -> dg.AssetCheckResult:
    """Whether the table has what the marts have; `relation` says how the rows stand to the date, as in "before"."""
    return checked(
        RECONCILE,
        found is None or found.holds,
        expected=f"{found.expected} {relation} {found.as_of}" if found else "as in the marts",
        found=str(found.found) if found else "nothing yet",
        samples=found.samples if found else (),
    )
