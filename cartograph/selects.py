"""SELECTs that people write into files: looked at before they run, and run where they reach nothing but their tables.

Who may write such a file is trusted with the shop's data, not with the machine. Which tables there are, and what the
message says, is decided where the file is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import duckdb

_CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Words that are columns to DuckDB's parser, unless they are called."""


def shut_in(connection: duckdb.DuckDBPyConnection, folders: Sequence[str] = ()) -> None:
    """Shut files but those in `folders`, network, extensions, Python's variables and settings off, for good."""
    options: dict[str, bool | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
        "allowed_directories": list(folders),
        "enable_external_access": False,
        "lock_configuration": True,
    }
    for option, value in options.items():
        connection.execute(f"SET {option} = {_literal(value)}")


def parsed(connection: duckdb.DuckDBPyConnection, select: str) -> dict[str, Any]:
    """What DuckDB reads in `select`: with `error` true where it is no SELECT, else its `statements`."""
    row = connection.execute(f"SELECT json_serialize_sql({_literal(select)})").fetchone()
    return cast(dict[str, Any], json.loads(row[0])) if row else {}


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All parts of what `parsed` gives, a part before its own parts."""
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from nodes(child)


def tables_in(tree: Any) -> frozenset[str]:
    """The names, in lower case, of the tables that a parsed SELECT reads, with those of its own CTEs."""
    return frozenset(str(node["table_name"]).lower() for node in nodes(tree) if node.get("type") == "BASE_TABLE")


def changing_functions(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The names of the functions that do not always give the same: of the clock, of chance, of the connection."""
    rows = connection.execute("SELECT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'").fetchall()
    return frozenset(str(row[0]) for row in rows) | _CLOCKS


def changing(node: dict[str, Any], functions: frozenset[str]) -> str | None:
    """What in a part of a SELECT does not always give the same: one of `functions`, or rows that are drawn."""
    if node.get("sample"):
        return "USING SAMPLE or TABLESAMPLE"
    if (called := str(node.get("function_name", "")).lower()) in functions:
        return f"{called}()"
    names = node.get("column_names") or []
    return str(names[0]).lower() if len(names) == 1 and str(names[0]).lower() in _CLOCKS else None


def _literal(value: bool | str | Sequence[str]) -> str:
    """A value as DuckDB writes it: to bind it as a parameter imports pandas, for which each load of the graph waits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"[{', '.join(map(_literal, value))}]"
