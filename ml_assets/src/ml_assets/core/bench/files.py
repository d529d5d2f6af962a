"""Reading a user's table with DuckDB: CSV, compressed or not, or Parquet, with columns that must be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from ml_assets.core.bench.errors import BenchDataError


def relation(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str]) -> str:
    """A SELECT of the file's rows, which are read into a temporary table; columns of CSV are text.

    Raises:
        BenchDataError: the file is not there, cannot be read, or lacks a column.
    """
    if not path.is_file():
        raise BenchDataError(f"There is no file {path}.")
    reader = "read_parquet" if path.suffix == ".parquet" else "read_csv"
    more = "" if path.suffix == ".parquet" else ", header = true, all_varchar = true"
    source = f"SELECT * FROM {reader}({_quoted(str(path))}{more})"
    try:
        found = [row[0] for row in con.execute(f"DESCRIBE {source}").fetchall()]
    except duckdb.Error as error:
        raise BenchDataError(f"{path} cannot be read as {reader.removeprefix('read_')}: {_first_line(error)}") from None
    missing = [column for column in columns if column not in found]
    if missing:
        raise BenchDataError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(found)}. The first line must name "
            f"the columns {', '.join(columns)}."
        )
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE given AS {source}")
    except duckdb.Error as error:
        raise BenchDataError(f"{path}: {_first_line(error)}") from None
    return "FROM given"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
