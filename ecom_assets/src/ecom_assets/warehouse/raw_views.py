"""The views `raw.<dataset>` through which dbt reads the lake: SQL over the files of pinned snapshots, nothing copied.

How a snapshot becomes SQL is in `cartograph.lake`; when the views are made is decided by the plugin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import duckdb

from cartograph.contracts import DUCKDB_TYPES, Contract, with_provenance
from cartograph.lake import Lake
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import raw_table

Pins = Mapping[str, int]
"""Snapshot ids by lake table, e.g. `raw.orders`."""


def pin_raw(lake: Lake, datasets: Iterable[str]) -> dict[str, int]:
    """The current snapshots of the raw tables of `datasets`; one that nothing was written to yet is left out."""
    return lake.pin(table for table in map(raw_table, sorted(datasets)) if lake.exists(table))


def create_raw_views(connection: duckdb.DuckDBPyConnection, lake: Lake, datasets: Collection[str], pins: Pins) -> None:
    """Create or replace the view of each of `datasets`, and drop those of others; one without a pin is empty."""
    lake.configure(connection)
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    for dataset in sorted(CONTRACTS):
        if dataset in datasets:
            connection.execute(f"CREATE OR REPLACE VIEW raw.{dataset} AS {_select(lake, CONTRACTS[dataset], pins)}")
        else:
            connection.execute(f"DROP VIEW IF EXISTS raw.{dataset}")


def _select(lake: Lake, contract: Contract, pins: Pins) -> str:
    table = raw_table(contract.dataset)
    if table in pins:
        return lake.relation_sql(table, pins[table])
    columns = (f"CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS {c.name}" for c in with_provenance(contract).columns)
    return f"SELECT {', '.join(columns)} WHERE false"
