"""The views `raw.<dataset>` through which dbt reads the lake: SQL over the files of pinned snapshots, nothing copied.

How a snapshot becomes SQL is in `cartograph.lake`; the plugin makes the views when dbt opens the warehouse.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from cartograph.contracts import DUCKDB_TYPES, Contract, with_provenance
from ecom_assets.contracts import CONTRACTS

if TYPE_CHECKING:  # Importing the lake takes 2 seconds, which dbt's process need not spend on views that are given.
    from cartograph.lake import Lake


@dataclass(frozen=True)
class RawViews:
    """What dbt reads: a SELECT for each dataset, and the snapshot id of each lake table behind them."""

    selects: Mapping[str, str]
    pins: Mapping[str, int]


def pinned_views(lake: Lake, datasets: Collection[str]) -> RawViews:
    """Views over the current snapshots of `datasets`' tables; a dataset that was never loaded has an empty one."""
    tables = {dataset: f"raw.{dataset}" for dataset in sorted(datasets)}
    pins = lake.pin(table for table in tables.values() if lake.exists(table))
    selects = {
        dataset: lake.relation_sql(table, pins[table]) if table in pins else _empty(CONTRACTS[dataset])
        for dataset, table in tables.items()
    }
    return RawViews(selects, pins)


def create_views(connection: duckdb.DuckDBPyConnection, views: RawViews) -> None:
    """Create or replace the views of `views`, and drop those of datasets that are not in it."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    for dataset in sorted(CONTRACTS):
        if dataset in views.selects:
            connection.execute(f"CREATE OR REPLACE VIEW raw.{dataset} AS {views.selects[dataset]}")
        else:
            connection.execute(f"DROP VIEW IF EXISTS raw.{dataset}")


def write_views(views: RawViews, path: Path) -> None:
    """Write `views` for `read_views`, in whatever process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(views), indent=2, sort_keys=True), encoding="utf-8")


def read_views(path: Path) -> RawViews:
    """The views that `write_views` wrote."""
    return RawViews(**json.loads(path.read_text(encoding="utf-8")))


def _empty(contract: Contract) -> str:
    columns = (f"CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS {c.name}" for c in with_provenance(contract).columns)
    return f"SELECT {', '.join(columns)} WHERE false"
