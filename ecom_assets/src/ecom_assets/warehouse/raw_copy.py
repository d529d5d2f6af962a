"""Copies the lake's raw and quarantine tables into PostgreSQL, so that the dbt project can be built there.

For who runs dbt's target `postgres`: `cartograph lake copy-to-postgres`, and the tests that hold both engines' marts
against each other. On DuckDB dbt reads the lake itself, through `lake_views`, and nothing is copied.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import duckdb

from cartograph.lake import Lake, LakeError
from ecom_assets.sql import identifier, literal
from ecom_assets.warehouse.lake_views import LakeViews, create_views


class RawCopyError(LakeError):
    """The lake could not be copied. The message has PostgreSQL's own words; what was there before is still there."""


def copy_raw(lake: Lake, views: LakeViews) -> dict[str, int]:
    """Replace the tables of `views` in PostgreSQL by what they select; the rows of each table.

    The database is the one that libpq's own variables name (PGHOST, PGDATABASE, PGUSER, …). Rows are streamed, in one
    transaction. The types are the contracts'. Views on the tables, dbt's staging, are dropped with them: the
    `dbt build` for which one copies makes them anew.

    Raises:
        RawCopyError: PostgreSQL cannot be reached, or refuses the rows.
    """
    with lake.connect() as connection:
        try:
            attach_postgres(connection, read_only=False)
            create_views(connection, views)
            connection.execute("BEGIN")
            rows = {table: _replace(connection, table) for table in sorted(views.selects)}
            connection.execute("COMMIT")
        except duckdb.Error as error:
            raise RawCopyError(
                f"The lake could not be copied into PostgreSQL, which is as it was: {error}\n"
                "PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD say where it is; the user may create schemas there."
            ) from error
    return rows


def attach_postgres(connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
    """Let `connection` see the PostgreSQL of libpq's variables as the catalogue `postgres`."""
    connection.execute(f"LOAD {literal(str(_extension()))}")
    encrypted = "" if "PGSSLMODE" in os.environ else "sslmode=require"  # as dbt's profile has it
    connection.execute(f"ATTACH '{encrypted}' AS postgres (TYPE postgres{', READ_ONLY' if read_only else ''})")


def _replace(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    schema, name = (identifier(part) for part in table.split("."))
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS postgres.{schema}")
    connection.execute(f"DROP TABLE IF EXISTS postgres.{schema}.{name} CASCADE")
    copied = connection.execute(f"CREATE TABLE postgres.{schema}.{name} AS SELECT * FROM memory.{schema}.{name}")
    (rows,) = copied.fetchone() or (0,)
    connection.execute(f"CALL postgres_execute('postgres', {literal(f'ANALYZE {schema}.{name}')})")
    return int(rows)


def _extension() -> Path:
    """DuckDB's PostgreSQL extension, from the Python package of this DuckDB's version: nothing is downloaded."""
    package = find_spec("duckdb_extension_postgres_scanner")
    places = package.submodule_search_locations if package is not None else None
    file = f"v{duckdb.__version__}/postgres_scanner.duckdb_extension"
    found = [path for place in places or () for path in Path(place).rglob(file)]
    if not found:
        raise RawCopyError(
            "Copying the lake into PostgreSQL needs DuckDB's PostgreSQL extension. Install Cartograph with the extra "
            f"`postgres`, or the package duckdb-extension-postgres-scanner=={duckdb.__version__}."
        )
    return found[0]
