"""The shop's figures by day and dimension as an asset, and the check that they are those of the marts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.releases.contents.kpis import Kpi, write_kpis
from cartograph.trust.evidence import SAMPLES, checked
from ml_assets.core import kpis
from ml_assets.core.features.customers import as_of_dates
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    FEATURES,
    KPI_CUSTOMERS,
    KPIS,
    Pinned,
    delivered,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
)
from ml_assets.defs.metadata import table_metadata
from ml_assets.defs.partitions import scoring_date

KEY = dg.AssetKey(["serving", "kpis"])


def kpi_marts() -> tuple[str, ...]:
    """The marts that the shop's figures are made of."""
    return delivered((*kpis.REQUIRED_MARTS, *kpis.OPTIONAL_MARTS))


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, *depends_on(kpi_marts())],
    kinds={"duckdb", "iceberg"},
    tags={"domain": "serving"},
    description=(
        "Revenue, orders, refunds, sales, margin, sessions and the like by day and by country, channel, device, "
        "segment or category, and what the customers of any range of days are counted from; the API's `/v1/kpis` "
        "answers from it. Up to the latest as-of date."
    ),
)
def kpis_by_day() -> dg.MaterializeResult:
    """Sum up the marts and replace both tables."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES, *published(kpi_marts())])
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            tables = {
                KPIS: (kpis.SUMS, kpis.sums(con, inputs.selects, as_of)),
                KPI_CUSTOMERS: (kpis.CUSTOMERS, kpis.customers(con, inputs.selects, as_of)),
            }
        for identifier, (contract, rows) in tables.items():
            lake.ensure(identifier, contract, None)
            with lake.overwriting(identifier, None) as writer:
                writer.write(rows)
    return dg.MaterializeResult(
        metadata=table_metadata(kpis.SUMS, len(tables[KPIS][1]), inputs.snapshots)
        | {"as_of_date": str(as_of), "customer_rows": len(tables[KPI_CUSTOMERS][1])}
    )


@dg.asset_check(
    asset=KEY,
    blocking=True,
    description="The figures of a day are those of the daily sales mart, and the values of a dimension add up to them.",
)
def kpis_tie_out() -> dg.AssetCheckResult:
    """Hold each day's figures against the marts, and the dimensions against each day."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, [FEATURES, KPIS, KPI_CUSTOMERS, *published(kpi_marts())])
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            selects = inputs.selects
            compared, samples = kpis.differing(con, selects["kpis"], selects["kpi_customers"], selects, as_of, SAMPLES)
    return checked(
        "kpis_tie_out",
        not samples,
        expected=f"{compared:,} figures of days as in the marts",
        found=f"{len(samples)}{' or more' if len(samples) == SAMPLES else ''} differ" if samples else "all are",
        samples=samples,
    )


class ReleasedKpis(NamedTuple):
    """The figures that the shop has, and the tables of `kpis.arrow` and `kpi_customers.arrow`."""

    kpis: list[Kpi]
    sums: pa.Table
    customers: pa.Table


def released_kpis(con: duckdb.DuckDBPyConnection, inputs: Pinned, as_of: date) -> ReleasedKpis | None:
    """What is released of the figures; None of a shop without a day."""
    cents = ", ".join(f"CAST({name} * 100 AS BIGINT) AS {name}" for name in kpis.MONEY)
    found = con.execute(
        f"""
        SELECT dimension, value, date, {cents}, {", ".join(kpis.COUNTS)} FROM ({inputs.selects["kpis"]})
        WHERE date < $as_of""",
        {"as_of": as_of},
    ).to_arrow_table()
    counted = con.execute(
        f"""
        SELECT dimension, value, date, coalesce(previous_date, DATE '1900-01-01') AS previous_date, customers
        FROM ({inputs.selects["kpi_customers"]}) WHERE date < $as_of""",
        {"as_of": as_of},
    ).to_arrow_table()
    if not len(found):
        return None
    has_costs = any(found["margin"].to_pylist())
    return ReleasedKpis(kpis.figures(kpi_marts(), has_costs=has_costs), found, counted)


def write_figures(folder: Path, figures: ReleasedKpis | None) -> None:
    """Write the files of figures, where there are some."""
    if figures is not None:
        write_kpis(folder, *figures)
