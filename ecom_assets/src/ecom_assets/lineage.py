"""Column lineage of a SELECT: which columns of which tables each of its columns is made of.

By sqlglot, from the text and the tables' columns alone; nothing is run. Sources ask it for the selects of a shop's
file, the warehouse for the SQL that dbt compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import sqlglot
from sqlglot import MappingSchema, exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

Origins = Mapping[str, tuple[tuple[str, str], ...]]
"""Column to the (origin, column) pairs that it is made of, sorted; no pair where it is a constant or a count of rows.

What only decides which rows there are (a join, a filter, a group) is no origin: were a customer's number of orders made
of `customer_id`, an erasure would search it for ids, and find the id 12 wherever somebody has 12 orders.
"""


def select_origins(select: str, views: Mapping[str, str], tables: Mapping[str, Collection[str]]) -> Origins:
    """The origins of the columns of a DuckDB `select`, by their names in lower case.

    They are columns of `tables` (name to columns; `schema.table` for one in a schema), also through `views` (name to
    SELECT). Empty where sqlglot cannot follow the select, which DuckDB may well run.
    """
    schema = MappingSchema(dialect="duckdb")
    for table, columns in tables.items():
        schema.add_table(table, dict.fromkeys(columns, "VARCHAR"), dialect="duckdb")
    names = {(table.lower(), column.lower()): (table, column) for table in tables for column in tables[table]}
    try:
        parsed: dict[str, exp.Query | Callable[[], exp.Query]] = {name: _query(view) for name, view in views.items()}
        whole = exp.expand(_query(select), parsed, dialect="duckdb")
        # Trimmed selects and a copy serve drawings of the lineage, and took nine tenths of the time.
        nodes = lineage(None, whole, schema=schema, dialect="duckdb", trim_selects=False, copy=False)
    except SqlglotError:
        return {}
    return {name: _leaves(node, names) for name, node in nodes.items()}


def _query(select: str) -> exp.Query:
    parsed = sqlglot.parse_one(select, dialect="duckdb")
    if not isinstance(parsed, exp.Query):
        raise SqlglotError(f"not a query: {select}")
    return parsed


def _leaves(node: Node, names: Mapping[tuple[str, str], tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The columns at the ends of a lineage, by their names in the tables whatever their case in the select."""
    found = set()
    for leaf in node.walk():
        if isinstance(leaf.source, exp.Table):
            column = leaf.name.rsplit(".", 1)[-1].strip('"')
            found.add(names.get((exp.table_name(leaf.source).lower(), column.lower())))
    return tuple(sorted(pair for pair in found if pair))
