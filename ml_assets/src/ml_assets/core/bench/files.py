"""Reading a user's table with DuckDB, and telling the first row that is wrong by its place.

CSV, compressed or not, and Parquet. What the columns mean is the business of whoever reads them.
"""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from ml_assets.core.bench.errors import BenchDataError

READERS = {".csv": "read_csv", ".csv.gz": "read_csv", ".parquet": "read_parquet"}
DELIMITERS = ",;\t|"
TELLS_APART = 0.9
"""A column with so many values for each different row tells rows apart."""
LARGEST = 1e60
"""Fourth powers of larger numbers are none."""
DATE_CURE = "Write dates as 2026-01-31."
OTHER_DATES = (
    r"^(\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})|\d{4}[./]\d{1,2}[./]\d{1,2}"
    r"|\d{1,2}[ .-]+[A-Za-z]{3,9}[ .,-]+\d{4}|[A-Za-z]{3,9}[ .]+\d{1,2}[ ,]+\d{4})([ T,].*)?$"
)
"""Dates as they are also written: 31/01/2026, 31.01.2026, 2026/01/31, 31 Jan 2026, Jan 31, 2026; with a time or not."""
CENTURY_DAYS = 36_525
ROWS, PLACE = "numbered", "_line"
"""The table with the file's rows, and its column with the place of each: a line of CSV, a row of Parquet."""


def read_rows(con: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[str], form: str) -> tuple[str, ...]:
    """Make the table `ROWS` of the file, which has at least `columns`, and return its columns; those of CSV are text.

    `form` says in a sentence what the file should be, and stands in the messages.

    Raises:
        BenchDataError: the file is not there, cannot be read, or lacks a column.
    """
    reader = next((reader for suffix, reader in READERS.items() if path.name.lower().endswith(suffix)), None)
    if wrong := no_file(path):
        raise BenchDataError(f"{wrong} {form}")
    if reader is None:
        raise BenchDataError(f"{path} is none of {', '.join(READERS)}. Convert it, or rename it to what it is.")
    source = f"{reader}($path{', header = true, all_varchar = true' if reader == 'read_csv' else ''})"
    try:
        place = f"row_number() OVER () + {int(reader == 'read_csv')} AS {PLACE}"
        con.execute(f"CREATE TABLE {ROWS} AS SELECT *, {place} FROM {source}", {"path": str(path)})
    except duckdb.Error as error:
        raise BenchDataError(f"{unreadable(path, error)} {form}") from error
    names = tuple(row[0] for row in con.execute(f"DESCRIBE {ROWS}").fetchall() if row[0] != PLACE)
    missing = [name for name in columns if name not in names]
    if missing:
        told = f"{path}, line 1: no column {missing[0]}; there are {', '.join(names)}. {form}"
        raise BenchDataError(uneven(path, columns) or told)
    return names


def uneven(path: Path, columns: Sequence[str]) -> str | None:
    """What to say of a CSV that has the columns, and a line of more or fewer values; None of any other file.

    DuckDB takes each line of such a file for one value.
    """
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return None
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    for delimiter in DELIMITERS:
        with suppress(csv.Error), opened(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = next(rows, [])
            if not {*columns} <= {*header}:
                continue
            for row in rows:
                if row and len(row) != len(header):
                    return (
                        f"{path}, line {rows.line_num}: it has {len(row)} values, and line 1 names {len(header)} "
                        "columns. Put a value that holds the delimiter in quotes, or correct the line."
                    )
    return None


def no_file(path: Path) -> str | None:
    """Why there is no file to read at a path, with the cure; None where there is one."""
    if path.is_dir():
        return f"{path} is a folder. Give a file in it with --data."
    if not path.is_file():
        return f"{path} is not there. Give a CSV or Parquet file with --data."
    return None if path.stat().st_size else f"{path} is empty. Give a file with a line of names and rows."


def unreadable(path: Path, error: duckdb.Error) -> str:
    """Why DuckDB cannot read a file, with the cure where it is written in another encoding than UTF-8."""
    with path.open("rb") as file:
        is_wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if is_wide or "not utf-8 encoded" in str(error):
        encoding, name = ("UTF-16", "utf-16") if is_wide else ("another encoding than UTF-8, Latin-1 perhaps", "latin1")
        return f"{path} is in {encoding}. Save it as UTF-8, such as by `iconv -f {name} -t utf-8`."
    return f"{path} cannot be read: {str(error).splitlines()[0]}"


def refuse(con: duckdb.DuckDBPyConnection, path: Path, column: str, wrong: str, cure: str) -> None:
    """Raise with the first row for which the SQL condition `wrong` holds, if there is one.

    Raises:
        BenchDataError: with the row's place, its value of `column`, and `cure`.
    """
    found = con.execute(
        f"SELECT {PLACE}, shown FROM (SELECT {PLACE}, CAST({quoted(column)} AS VARCHAR) AS shown, {wrong} AS wrong "
        f"FROM {ROWS}) WHERE wrong ORDER BY {PLACE} LIMIT 1"
    ).fetchone()
    if found:
        told = "is empty" if found[1] is None else f"is {found[1]!r}"
        where = "row" if path.suffix == ".parquet" else "line"
        raise BenchDataError(f"{path}, {where} {found[0]}, column {column}: it {told}. {cure}")


def refuse_dates(con: duckdb.DuckDBPyConnection, path: Path, column: str) -> None:
    """Raise where a column's value is no date, or one that is a century from the others: 9999-12-31 for one to come.

    Raises:
        BenchDataError: with the row's place.
    """
    refuse(con, path, column, f"{as_date(column)} IS NULL", DATE_CURE)
    middle = f"(SELECT quantile_disc({as_date(column)}, 0.5) FROM {ROWS})"
    far = f"abs(date_diff('day', {middle}, {as_date(column)})) > {CENTURY_DAYS}"
    refuse(con, path, column, far, "It is a century from most others. Leave the row out, or write its date.")


def refuse_numbers(con: duckdb.DuckDBPyConnection, path: Path, column: str, cure: str, *, may_be_empty: bool) -> None:
    """Raise where a column's value is no number, or one that is too large to be computed with.

    Raises:
        BenchDataError: with the row's place.
    """
    refuse(con, path, column, f"{is_no_number(column)}{f' AND {filled(column)}' if may_be_empty else ''}", cure)
    far = f"abs({as_number(column)}) > {LARGEST}"
    refuse(con, path, column, far, "It is too large to be computed with. Write it in another unit.")


def out_of_range(values: npt.NDArray[np.float64]) -> str | None:
    """What to say of a column whose largest number, by its size, is too large or too small to be computed with."""
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    if largest > LARGEST or 0 < largest < 1 / LARGEST:
        return f"it holds {largest:g}, which cannot be computed with. Write it in another unit."
    return None


def copies(con: duckdb.DuckDBPyConnection, select: str, given: Mapping[str, object] | None = None) -> int:
    """How many rows of a SELECT are exact copies of others, where a column tells rows apart; else 0.

    Rows of few values (a variant and a yes or no) are alike by nature.
    """
    (rows,) = con.execute(f"SELECT count(*) FROM ({select})", given).fetchone() or (0,)
    (distinct,) = con.execute(f"SELECT count(*) FROM (SELECT DISTINCT * FROM ({select}))", given).fetchone() or (0,)
    if rows == distinct:
        return 0
    values = con.execute(f"SELECT count(DISTINCT COLUMNS(*)) FROM ({select})", given).fetchone() or ()
    return int(rows - distinct) if max(values, default=0) >= TELLS_APART * distinct else 0


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def as_date(name: str) -> str:
    """SQL of a column's date, null where it is none."""
    return f"CAST(try_cast(CAST({quoted(name)} AS VARCHAR) AS TIMESTAMP) AS DATE)"


def is_date(name: str) -> str:
    """SQL: the value is a date, written in whichever way."""
    text = f"trim(CAST({quoted(name)} AS VARCHAR))"
    return f"({as_date(name)} IS NOT NULL OR regexp_matches({text}, '{OTHER_DATES}'))"


def as_number(name: str) -> str:
    """SQL of a column's number, null where it is none."""
    text = f"CAST({quoted(name)} AS VARCHAR)"  # 1_0 is 10 to DuckDB
    return f"CASE WHEN NOT contains({text}, '_') THEN try_cast({quoted(name)} AS DOUBLE) END"


def is_no_number(name: str) -> str:
    """SQL: the value is not a finite number."""
    return f"coalesce(NOT isfinite({as_number(name)}), true)"


def filled(name: str) -> str:
    """SQL: the value is not empty."""
    return f"nullif(trim(CAST({quoted(name)} AS VARCHAR)), '') IS NOT NULL"
