"""The views through which dbt reads the lake: SQL over the files of pinned snapshots, nothing copied.

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
from ecom_assets.contracts.quarantine import quarantine_contract

if TYPE_CHECKING:  # Importing the lake takes 2 seconds, which dbt's process need not spend on views that are given.
    from cartograph.lake import Lake


_SCHEMAS = ("raw", "quarantine")


@dataclass(frozen=True)
class LakeViews:
    """What dbt reads: a SELECT and a snapshot id by lake table, `raw.<dataset>` or `quarantine.<dataset>`.

    The views have the tables' names. A table that nothing was written to has a SELECT of nothing, and no snapshot.
    """

    selects: Mapping[str, str]
    pins: Mapping[str, int]


def pinned_views(lake: Lake, datasets: Collection[str]) -> LakeViews:
    """Views over the current snapshots of the raw and quarantine tables of `datasets`."""
    contracts = {f"raw.{name}": with_provenance(CONTRACTS[name]) for name in datasets} | {
        f"quarantine.{name}": quarantine_contract(name) for name in datasets
    }
    pins = lake.pin(table for table in sorted(contracts) if lake.exists(table))
    selects = {
        table: lake.relation_sql(table, pins[table]) if table in pins else _empty(contract)
        for table, contract in contracts.items()
    }
    return LakeViews(selects, pins)


def create_views(connection: duckdb.DuckDBPyConnection, views: LakeViews) -> None:
    """Create or replace the views of `views`; those of other tables are dropped."""
    for schema in _SCHEMAS:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for dataset in sorted(CONTRACTS):
            table = f"{schema}.{dataset}"
            if table in views.selects:
                connection.execute(f"CREATE OR REPLACE VIEW {table} AS {views.selects[table]}")
            else:
                connection.execute(f"DROP VIEW IF EXISTS {table}")


def write_views(views: LakeViews, path: Path) -> None:
    """Write `views` for `read_views`, in whatever process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(views), indent=2, sort_keys=True), encoding="utf-8")


def read_views(path: Path) -> LakeViews:
    """The views that `write_views` wrote."""
    return LakeViews(**json.loads(path.read_text(encoding="utf-8")))


def _empty(contract: Contract) -> str:
    columns = (f'CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS "{c.name}"' for c in contract.columns)
    return f"SELECT {', '.join(columns)} WHERE false"
