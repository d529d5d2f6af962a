"""A DuckDB connection for the selects of a shop's file: it reaches the tables it is given and nothing else.

Who owns a shop's file is trusted with its data, not with the machine: files, network, extensions and settings are shut.
Which tables there are is decided in `files`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from cartograph.selects import changing, changing_functions, nodes, parsed, shut_in, tables_in
from cartograph.settings import Settings
from ecom_assets.sources import SourceError


def sandbox(settings: Settings, spill_folder: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory database within the settings' limits, that spills to `spill_folder` and is otherwise shut in."""
    connection = duckdb.connect()
    for option, value in {
        "TimeZone": "UTC",
        "memory_limit": settings.duckdb_memory_limit,
        "threads": settings.duckdb_threads,
        "temp_directory": str(spill_folder),
    }.items():
        connection.execute(f"SET {option} = $value", {"value": value})
    shut_in(connection)
    return connection


def single_select(connection: duckdb.DuckDBPyConnection, owner: str, select: str) -> str:
    """`select` as it can stand in parentheses: without semicolon, on lines of its own.

    Raises:
        SourceError: it is not one SELECT statement, or does not always give the same of the same files; the message
            names `owner`.
    """
    tree = parsed(connection, select)
    if tree["error"]:
        place = f" in its line {select[: int(tree['position'])].count(chr(10)) + 1}" if "position" in tree else ""
        told = f"{owner}: its select cannot be read: {tree['error_message']}{place}."
        raise SourceError(f"{told} Mend it in the shop's file.")
    if len(tree["statements"]) != 1:
        raise SourceError(f"{owner}: its select has {len(tree['statements'])} statements. Leave one SELECT.")
    functions = changing_functions(connection)
    if clause := next((found for node in nodes(tree) if (found := changing(node, functions))), None):
        raise SourceError(
            f"{owner}: its select takes {clause}: the same files would be other rows each time. Use what stands in "
            "the files instead; mend it in the shop's file."
        )
    return f"{select.strip().removesuffix(';')}\n"


def tables_of(connection: duckdb.DuckDBPyConnection, select: str) -> frozenset[str]:
    """The names, in lower case, of the tables that a SELECT reads, with those of its own CTEs."""
    return tables_in(parsed(connection, select))


def explain(owner: str, error: duckdb.Error, tables: Sequence[str]) -> SourceError:
    """What went wrong in the select of `owner`, for whom can mend it; `tables` describes what it may read."""
    cause = str(error).split("\n\nLINE", maxsplit=1)[0].replace("\n", " ")
    if isinstance(error, duckdb.ConversionException):
        cure = "Leave the value as text, which its contract types row by row, or use TRY_CAST."
    elif isinstance(error, duckdb.OutOfMemoryException):
        cure = "Raise CARTOGRAPH_DUCKDB_MEMORY_LIMIT, or let the select hold fewer rows at a time."
    elif isinstance(error, duckdb.BinderException) and re.search(r"column named|Referenced column", cause):
        cure = (
            "No file has the column: deliver the files with it, or name it under `optional_columns`, or correct the "
            f"select in the shop's file; it reads nothing but {'; '.join(tables)}."
        )
    else:
        cure = f"Mend it in the shop's file; it reads nothing but {'; '.join(tables)}."
    return SourceError(f"{owner}: its select cannot be run: {cause}. {cure}")
