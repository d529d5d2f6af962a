"""Column lineage of a SELECT: which columns of which tables each of its columns is made of.

By sqlglot, from the text and the tables' columns alone; nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify

from ecom_assets.sources import Origins


def select_origins(select: str, views: Mapping[str, str], tables: Mapping[str, Collection[str]]) -> Origins:
    """The origins of the columns of a DuckDB `select`, by their names in lower case.

    They are columns of `tables` (name to columns), also through `views` (name to SELECT).

    Empty where sqlglot cannot follow the select, which DuckDB may well run.
    """
    schema: dict[str, object] = {table: dict.fromkeys(columns, "VARCHAR") for table, columns in tables.items()}
    try:
        parsed: dict[str, exp.Query | Callable[[], exp.Query]] = {name: _query(view) for name, view in views.items()}
        whole = exp.expand(_query(select), parsed, dialect="duckdb")
        query = qualify(whole, schema=schema, dialect="duckdb", validate_qualify_columns=False)
        names = query.named_selects if isinstance(query, exp.Query) else ()
        return {name: _leaves(lineage(name, query, schema=schema, dialect="duckdb"), tables) for name in names}
    except SqlglotError:
        return {}


def _query(select: str) -> exp.Query:
    parsed = sqlglot.parse_one(select, dialect="duckdb")
    if not isinstance(parsed, exp.Query):
        raise SqlglotError(f"not a query: {select}")
    return parsed


def _leaves(node: Node, tables: Mapping[str, Collection[str]]) -> tuple[tuple[str, str], ...]:
    """The columns of `tables` at the ends of a lineage, by their names there whatever their case in the select."""
    names = {(table.lower(), column.lower()): (table, column) for table in tables for column in tables[table]}
    found = set()
    for leaf in node.walk():
        if isinstance(leaf.source, exp.Table):
            column = leaf.name.rsplit(".", 1)[-1].strip('"')
            found.add(names.get((leaf.source.name.lower(), column.lower())))
    return tuple(sorted(pair for pair in found if pair))
