"""The SQL of a file that a shop brings: which is allowed, and how a target's events are read.

A target is a SELECT of who and when over published marts. Cartograph decides which events count for an as-of date; that
they follow neither from what was before the date nor from what came after the window is held by `window`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from cartograph.selects import changing, changing_functions, nodes, parsed, shut_in, tables_in
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.errors import OwnModelError

MARTS = (
    "dim_campaigns", "dim_customers", "dim_dates", "dim_products", "fct_events", "fct_experiment_assignments",
    "fct_order_items", "fct_orders", "fct_payments", "fct_refunds",
)  # fmt: skip
"""What a SELECT may read: facts of customers, and what these refer to."""
COLUMNS = ("customer_id", "happened_at")
_IN_ORDER = frozenset({"fill", "first_value", "lag", "last_value", "lead", "nth_value", "ntile", "row_number"})
"""Window functions whose values go by the order of the rows."""
_OF_ANY_ROW = frozenset({
    "any_value", "approx_quantile", "approx_top_k", "arbitrary", "array_agg", "first", "group_concat", "last", "list",
    "listagg", "reservoir_quantile", "string_agg",
})  # fmt: skip
"""Aggregates, too, whose values go by the order in which rows are read."""
_MOMENTS = ("DATE", "TIMESTAMP", "VARCHAR")

Connect = Callable[[], duckdb.DuckDBPyConnection]


def meant(name: str, known: Iterable[str]) -> str:
    """The `known` names that are near to `name`, as a question; nothing where none is."""
    written = {one.lower(): one for one in known}
    near = [written[one] for one in get_close_matches(name.lower(), list(written), n=3)]
    return f" Is {' or '.join(near)} meant?" if near else ""


def marts_of(select: str, form: str = "one SELECT of customer_id and happened_at") -> tuple[str, ...]:
    """The marts that a SELECT reads, by name; `form` says in messages what it should be.

    Raises:
        ValueError: it is not one SELECT over marts, or what it gives is not the same whenever it is run.
    """
    tree = _parsed(without_end(select), form)
    own = {str(entry["key"]).lower() for node in nodes(tree) for entry in _entries(node)}
    tables = tables_in(tree) - own
    unknown = sorted(tables - set(MARTS))
    if unknown:
        raise ValueError(
            f"it reads {', '.join(unknown)}, and it may read {', '.join(MARTS)}.{meant(unknown[0], MARTS)}"
        )
    if qualified := sorted(
        str(n["table_name"]) for n in nodes(tree) if n.get("type") == "BASE_TABLE" and n["schema_name"]
    ):
        raise ValueError(f"write {qualified[0]} without a schema before it: a mart is called by its name alone")
    if not tables:
        raise ValueError(f"it reads no mart; it may read {', '.join(MARTS)}")
    return tuple(sorted(tables))


def require_columns(select: str) -> None:
    """Raise ValueError where a SELECT that names its columns, and stars none, lacks one that a target needs."""
    (statement,) = _parsed(without_end(select), "one SELECT of customer_id and happened_at")
    node = statement["node"]
    while node["type"] == "SET_OPERATION_NODE":  # the first of them names the columns
        node = node["left"]
    columns = node.get("select_list") or [{"class": "STAR"}]
    if not any(column["class"] == "STAR" for column in columns):
        _require(
            column["alias"] or (column.get("column_names") or ["a value without a name"])[-1] for column in columns
        )


def _require(given: Iterable[str]) -> None:
    """Raise ValueError where a target's columns are not among those `given`."""
    names = [name.lower() for name in given]
    if lacking := [name for name in COLUMNS if name not in names]:
        near = " ".join(meant(name, names).strip() for name in lacking).strip()
        raise ValueError(
            f"its SELECT gives {', '.join(names)}, and needs {' and '.join(lacking)} too. Name the customer "
            f"customer_id and the moment happened_at.{f' {near}' if near else ''}"
        )


@lru_cache(maxsize=1024)
def features_in(condition: str) -> frozenset[str]:
    """The customer features that a population's condition is about.

    Raises:
        ValueError: it is no condition on features alone.
    """
    tree = _parsed(f"SELECT 1 WHERE ({condition}\n)", "a SQL condition on customer features")
    if (
        len(tree) != 1
        or tree[0]["node"]["type"] != "SELECT_NODE"
        or any(n.get("class") == "SUBQUERY" for n in nodes(tree))
    ):
        raise ValueError("it may only compare features: leave out SELECT")
    names = {feature.name for feature in CUSTOMER_FEATURES.features}
    columns = {str(node["column_names"][-1]) for node in nodes(tree) if node.get("class") == "COLUMN_REF"}
    if unknown := sorted(columns - names):
        raise ValueError(f"there is no customer feature {unknown[0]}.{meant(unknown[0], names)}")
    try:
        with duckdb.connect() as con:  # on a row, as without one DuckDB converts no constant
            row = ", ".join(f"CAST(0 AS {feature.type}) AS {feature.name}" for feature in CUSTOMER_FEATURES.features)
            con.execute(f"SELECT 1 FROM (SELECT {row}) WHERE ({condition}\n)")
    except duckdb.Error as error:
        raise ValueError(f"it cannot be run: {first_line(error)}") from None
    return frozenset(columns)


def read_events(connect: Connect, select: str, tables: Marts) -> pa.Table:
    """Who the target happened to on which days: `customer_id` and `day`, each pair once.

    `tables` are SELECTs of marts by name, and `connect` gives a connection that reaches these and nothing else.

    Raises:
        OwnModelError: the SELECT cannot be run, or has other columns.
    """
    try:
        with connect() as con:
            _try(con, select, tables)
            return con.execute(f"{events_select(select, tables)} ORDER BY ALL").to_arrow_table()
    except duckdb.Error as error:
        raise OwnModelError(f"target.events: its SELECT cannot be run: {first_line(error)}") from None


def try_events(connect: Connect, select: str, tables: Marts) -> None:
    """Look at whether a target's SELECT can be run over `tables`, and at its columns, without reading rows.

    Raises:
        OwnModelError: as for `read_events`.
    """
    try:
        with connect() as con:
            _try(con, select, tables)
    except duckdb.Error as error:
        raise OwnModelError(f"target.events: its SELECT cannot be run: {first_line(error)}") from None


def _try(con: duckdb.DuckDBPyConnection, select: str, tables: Marts) -> None:
    types = con.execute(f"DESCRIBE SELECT * FROM {_over(select, tables)}").fetchall()
    try:
        _require(str(name) for name, *_ in types)
    except ValueError as lacking:
        raise OwnModelError(f"target.events: {lacking}") from None
    (moment,) = {str(kind) for name, kind, *_ in types if str(name).lower() == "happened_at"}
    if not moment.startswith(_MOMENTS):
        raise OwnModelError(f"target.events: happened_at is {moment}, and must be a date or a timestamp.")


def events_select(select: str, tables: Marts) -> str:
    """A SELECT of `customer_id` and `day`, each pair once, by a target's SELECT over `tables`."""
    return f"""SELECT DISTINCT CAST(customer_id AS VARCHAR) AS customer_id, CAST(happened_at AS DATE) AS day
        FROM {_over(select, tables)} WHERE customer_id IS NOT NULL AND happened_at IS NOT NULL"""


def _over(select: str, tables: Marts) -> str:
    """A target's SELECT in brackets, its marts read by those of `tables`."""
    marts = ", ".join(f"{name} AS ({tables[name]})" for name in marts_of(select))
    return f"(WITH {marts} FROM (\n{without_end(select)}\n))"


@lru_cache(maxsize=1)
def _parser() -> tuple[duckdb.DuckDBPyConnection, frozenset[str]]:
    """A connection to parse with, and the names of functions that do not always give the same."""
    con = duckdb.connect()
    shut_in(con)
    return con, changing_functions(con)


def _parsed(sql: str, form: str) -> list[Any]:
    """The statements of `sql`, which reads tables alone and gives the same whenever it is run; it should be `form`."""
    con, functions = _parser()
    with con.cursor() as cursor:
        tree = parsed(cursor, sql)
    if tree["error"]:
        raise ValueError(f"it must be {form}, and DuckDB says: {tree['error_message']}")
    statements: list[Any] = tree["statements"]
    if len(statements) != 1:
        raise ValueError(f"it has {len(statements)} statements, and must be {form}")
    for node in nodes(statements):
        if node.get("type") == "TABLE_FUNCTION":
            raise ValueError(f"it calls {node['function']['function_name']}(…), and may read marts alone")
        if clause := changing(node, functions) or _unordered(node):
            raise ValueError(f"{clause} does not always give the same: a model could not be trained again from it")
    return statements


def _unordered(node: dict[str, Any]) -> str | None:
    """The clause of a part of a SELECT that takes rows in whatever order they are read."""
    called = str(node.get("function_name", "")).lower()
    modifiers = node.get("modifiers") or []
    kinds = {one["type"] for one in modifiers}
    if "ORDER_MODIFIER" not in kinds:
        if kinds & {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"}:
            return "LIMIT or OFFSET without ORDER BY"
        if any(one.get("distinct_on_targets") for one in modifiers):
            return "DISTINCT ON without ORDER BY"
    is_window, orders = node.get("class") == "WINDOW", (node.get("order_bys") or {}).get("orders")
    if is_window and called in _IN_ORDER | _OF_ANY_ROW and not (node.get("orders") or node.get("arg_orders")):
        return f"{called}(…) OVER without ORDER BY"
    if node.get("class") == "FUNCTION" and called in _OF_ANY_ROW and not orders:
        return f"{called}(…) without ORDER BY in its brackets"
    return None


def _entries(node: dict[str, Any]) -> list[dict[str, Any]]:
    found = node.get("cte_map")
    return list(found["map"]) if isinstance(found, dict) else []


def without_end(select: str) -> str:
    """The SELECT without the semicolon after it."""
    return select.strip().removesuffix(";")


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says, without the place in the SQL around it."""
    return str(error).split("\n\nLINE", maxsplit=1)[0].replace("\n", " ")
