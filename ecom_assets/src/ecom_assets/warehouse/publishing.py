"""Writes marts to the lake as `published.*`: what everything outside the warehouse reads.

Only the copying and its reckoning; when it happens and under which asset is in `ecom_assets.defs.publishing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from cartograph.lake import Lake, SchemaConflict
from cartograph.settings import Settings
from cartograph.windows import Grain, Window
from ecom_assets.warehouse.marts import Mart, event_time

_BATCH_ROWS = 100_000
_SUMMED = frozenset({"money", "price", "bigint"})
"""The types whose sums are exact, in whatever order the rows come."""

Totals = Mapping[str, Decimal | int]
"""The number of `rows`, and the sum of each amount and count by its column's name."""


class WarehouseMissingError(RuntimeError):
    """The warehouse, a mart in it, or all that it is made of does not exist yet. The message says how to build it."""


class WarehouseHeldError(RuntimeError):
    """The warehouse cannot be opened, mostly as another process has it open. The message says which, and the cure."""


@dataclass(frozen=True)
class Published:
    """What was written of a mart: its rows and bytes in memory, and the table's snapshot and rows afterwards."""

    rows: int
    bytes: int
    snapshot_id: int | None
    table_rows: int


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse, to read only; no other process may write it meanwhile, which the pool `warehouse` sees to.

    Raises:
        WarehouseMissingError: it was not built yet.
    """
    if not settings.warehouse_path.is_file():
        raise WarehouseMissingError(
            f"There is no warehouse at {settings.warehouse_path}. Build it first: `cartograph run`, or the dbt assets."
        )
    with duckdb.connect(settings.warehouse_path, read_only=True) as connection:
        Lake.from_settings(settings).configure(connection)
        yield connection


def require_loaded(lake: Lake, datasets: Collection[str]) -> None:
    """Raise WarehouseMissingError where no raw dataset was ever loaded: a warehouse of nothing would look whole."""
    if not any(lake.exists(f"raw.{dataset}") for dataset in datasets):
        raise WarehouseMissingError(
            f"Nothing of shop {lake.settings.shop!r} is loaded in {lake.settings.home}, so nothing can be made of it. "
            "`cartograph run` without --select loads and builds it."
        )


def relations(settings: Settings) -> frozenset[str]:
    """The tables and views of the warehouse, as `schema.name`; none where there is no warehouse.

    Raises:
        WarehouseHeldError: another process has it open.
    """
    if not settings.warehouse_path.is_file():
        return frozenset()
    try:
        with duckdb.connect(settings.warehouse_path, read_only=True) as connection:
            found = connection.execute(
                "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
                "UNION ALL SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
    except duckdb.IOException as error:
        raise WarehouseHeldError(
            f"The warehouse {settings.warehouse_path} cannot be opened: {str(error).splitlines()[0]} "
            "Close what has it open, and run again."
        ) from None
    return frozenset(name for (name,) in found)


def lacking_tables(manifest: Mapping[str, Any], there: Collection[str]) -> list[str]:
    """The models built by window that are not among the relations `there`, by name."""
    windowed = {
        _relation(node) for node in manifest["nodes"].values() if node["resource_type"] == "model" and event_time(node)
    }
    return sorted(windowed - set(there))


def unaskable_tests(manifest: Mapping[str, Any], selected: Collection[str], there: Collection[str]) -> list[str]:
    """The data tests of `selected` nodes that also ask one which the run does not build and the warehouse lacks.

    `selected` are unique ids, `there` the warehouse's relations; the tests are given by name.
    """
    nodes = manifest["nodes"]
    lacking = {
        unique_id
        for unique_id, node in nodes.items()
        if node["resource_type"] in {"model", "seed"} and unique_id not in selected and _relation(node) not in there
    }
    tests = (node for node in nodes.values() if node["resource_type"] == "test")
    asked = {test["name"]: set(test["depends_on"]["nodes"]) for test in tests}
    return sorted(name for name, models in asked.items() if models & lacking and models & set(selected))


def _relation(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node['alias']}"


def publish(
    connection: duckdb.DuckDBPyConnection, lake: Lake, mart: Mart, *, grain: Grain, window: Window | None
) -> Published:
    """Replace `window` of the published mart (None: all of it) by the warehouse's rows, as one commit.

    Rows are sorted by the mart's key within a window, so that the same rows give the same files.

    Raises:
        WarehouseMissingError: the mart was not built yet.
        SchemaConflict: the mart has changed so that rows outside the window do not fit it.
    """
    _ensure(lake, mart, grain, window)
    rows = size = 0
    with lake.overwriting(mart.table, window) as writer:
        for batch in _batches(connection, mart, window):
            writer.write(batch)
            rows += batch.num_rows
            size += batch.nbytes
    return Published(rows, size, lake.snapshot_id(mart.table), lake.row_count(mart.table))


def _ensure(lake: Lake, mart: Mart, grain: Grain, window: Window | None) -> None:
    """Let the published table have the mart's columns, for which its rows go where all of them are replaced anyway."""
    chosen = grain if mart.contract.event_time else None
    try:
        lake.ensure(mart.table, mart.contract, chosen)
    except SchemaConflict as conflict:
        if window is not None:
            raise SchemaConflict(
                f"{conflict} For a published mart it is enough to run over the whole history once: `cartograph run` "
                "without --from and --to, or all partitions in the UI."
            ) from None
        with lake.overwriting(mart.table, None):
            pass
        lake.ensure(mart.table, mart.contract, chosen)


def mart_totals(connection: duckdb.DuckDBPyConnection, mart: Mart, window: Window | None) -> Totals:
    """The totals of a mart in the warehouse, in `window` (None: all of it)."""
    return _totals(connection, mart, mart.relation, window)


def published_totals(connection: duckdb.DuckDBPyConnection, lake: Lake, mart: Mart, window: Window | None) -> Totals:
    """The totals of a published mart in the lake, in `window` (None: all of it)."""
    return _totals(connection, mart, _published(lake, mart), window)


def differing_keys(
    connection: duckdb.DuckDBPyConnection, lake: Lake, mart: Mart, window: Window | None, limit: int
) -> list[str]:
    """At most `limit` keys whose rows differ between the mart and what is published of it, in what `Totals` sums."""
    columns = ", ".join(dict.fromkeys([*mart.contract.key, *_summed(mart)]))
    ours, theirs = (
        f"SELECT {columns} FROM {relation}{_where(mart, window)}"
        for relation in (mart.relation, _published(lake, mart))
    )
    rows = connection.execute(
        f"""
        SELECT DISTINCT {", ".join(mart.contract.key)}
        FROM (({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))
        ORDER BY ALL LIMIT {limit}
        """
    ).fetchall()
    return [", ".join(f"{name}={value}" for name, value in zip(mart.contract.key, row, strict=True)) for row in rows]


def _totals(connection: duckdb.DuckDBPyConnection, mart: Mart, relation: str, window: Window | None) -> Totals:
    names = ("rows", *_summed(mart))
    sums = ", ".join(["count(*)", *(f"coalesce(sum({name}), 0)" for name in names[1:])])
    found = _execute(connection, mart, f"SELECT {sums} FROM {relation}{_where(mart, window)}").fetchall()[0]
    return dict(zip(names, found, strict=True))


def _summed(mart: Mart) -> list[str]:
    return [column.name for column in mart.contract.columns if column.type in _SUMMED]


def _published(lake: Lake, mart: Mart) -> str:
    return f"({lake.relation_sql(mart.table)}) AS published"


def _batches(connection: duckdb.DuckDBPyConnection, mart: Mart, window: Window | None) -> Iterator[pa.Table]:
    schema = mart.contract.arrow_schema()
    order = ", ".join(dict.fromkeys([c for c in (mart.contract.event_time,) if c] + list(mart.contract.key)))
    sql = f"SELECT {', '.join(mart.contract.names)} FROM {mart.relation}{_where(mart, window)} ORDER BY {order}"
    for batch in _execute(connection, mart, sql).to_arrow_reader(_BATCH_ROWS):
        yield pa.Table.from_batches([batch]).cast(schema)


def _where(mart: Mart, window: Window | None) -> str:
    if window is None or mart.contract.event_time is None:
        return ""
    low, high = window.start.date(), window.end.date()
    return f" WHERE {mart.contract.event_time} >= DATE '{low}' AND {mart.contract.event_time} < DATE '{high}'"


def _execute(connection: duckdb.DuckDBPyConnection, mart: Mart, sql: str) -> duckdb.DuckDBPyConnection:
    try:
        return connection.execute(sql)
    except duckdb.CatalogException:
        raise WarehouseMissingError(
            f"{mart.relation} is not in the warehouse. Build marts/{mart.name} first: `cartograph run` without "
            f"--select, or with --select '+key:\"published/{mart.name}\"'."
        ) from None
