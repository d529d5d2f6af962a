"""What the lake knows of one customer, before they are erased: their rows, what identifies them, and the totals.

Questions only; nothing is changed here. How a customer is taken out is `erasure`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import duckdb

from cartograph.contracts import Contract
from cartograph.erasure import ERASED, is_telling
from cartograph.lake import Lake
from ecom_assets.contracts import CONTRACTS
from ecom_assets.erasure import CUSTOMER, IDENTIFYING, ORDER
from ecom_assets.sql import identifier, literal


class Personal(NamedTuple):
    """A value that only this customer has, with the kind of personal data that it is and the raw column it is from."""

    dataset: str
    column: str
    kind: str
    value: str

    @property
    def is_identifier(self) -> bool:
        """Whether it says by itself whose it is, in whatever text."""
        return self.kind in IDENTIFYING and is_telling(self.value)


class _Cells(NamedTuple):
    """Rows with their owner, as SQL, and how to select a column of the contract from them."""

    relation: str
    has_customer: bool
    select: Mapping[str, str]


def rows_of(lake: Lake, names: Collection[str]) -> dict[str, int]:
    """How many rows are those of the customer who goes by any of `names`, for each lake table that has some."""
    found: dict[str, int] = {}
    tables = {info.identifier for info in lake.tables()}
    with lake.connect() as connection:
        for table in sorted(tables):
            namespace, dataset = table.split(".")
            if namespace in ("raw", "quarantine") and dataset in CONTRACTS:
                relation = _cells(lake, CONTRACTS[dataset], namespace).relation
            else:
                relation = lake.relation_sql(table)
                columns = [row[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall()]
                if CUSTOMER not in columns:
                    continue
                relation = f"SELECT {CUSTOMER} AS owner FROM ({relation})"
            (rows,) = _one(connection, f"SELECT count(*) FROM ({relation}) WHERE list_contains(?, owner)", [*names])
            if rows:
                found[table] = int(rows)
    return found


def near_customers(lake: Lake, customer: str, number: int = 3) -> list[str]:
    """The ids in the lake that are most like `customer`."""
    if not lake.exists("raw.customers"):
        return []
    with lake.connect() as connection:
        found = connection.execute(
            f"""
            SELECT {CUSTOMER} FROM (SELECT DISTINCT {CUSTOMER} FROM ({lake.relation_sql("raw.customers")}))
            WHERE {CUSTOMER} NOT LIKE '{ERASED}%'
            ORDER BY damerau_levenshtein({CUSTOMER}, ?), {CUSTOMER} LIMIT {number}""",
            [customer],
        ).fetchall()
    return [near for (near,) in found]


def personal_values(lake: Lake, names: Collection[str]) -> list[Personal]:
    """What only the customer who goes by `names` has, of what contracts tag as personal data, wherever it is left.

    A value that somebody else's row has as well tells nothing of this customer. Browsers of which no customer is known
    are whose they are otherwise.
    """
    selects = list(_personal_cells(lake))
    if not selects:
        return []
    with lake.connect() as connection:
        found = connection.execute(
            f"""
            WITH cells AS (
                SELECT *, coalesce(list_contains($names, owner), false) AS theirs
                FROM ({" UNION ALL ".join(selects)})
                WHERE value IS NOT NULL AND value <> '' AND NOT starts_with(value, '{ERASED}')
            ),
            own AS (
                SELECT kind, value FROM cells GROUP BY ALL
                HAVING bool_or(theirs) AND bool_and(theirs OR (kind = 'device' AND has_customer AND owner IS NULL))
            )
            SELECT DISTINCT dataset, column_name, kind, value FROM cells SEMI JOIN own USING (kind, value) ORDER BY ALL
            """,
            {"names": [*names]},
        ).fetchall()
    return [Personal(*row) for row in found]


def derived_keys(lake: Lake, customer: str, columns: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """What only the customer's rows have in `columns` (by lake table) that are made of the customer's own.

    The warehouse's surrogate keys, which are hashes: who knows the id can tell whose they are.
    """
    found: dict[str, set[str]] = {}
    with lake.connect() as connection:
        for table, chosen in columns.items():
            if not lake.exists(table):
                continue
            relation = lake.relation_sql(table)
            types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {relation}").fetchall()}
            for column in sorted(
                c for c in chosen if c != CUSTOMER and CUSTOMER in types and types.get(c) == "VARCHAR"
            ):
                rows = connection.execute(
                    f"""
                    SELECT {identifier(column)} FROM ({relation})
                    WHERE regexp_full_match({identifier(column)}, '[0-9a-f]{{32}}') GROUP BY ALL
                    HAVING bool_and({CUSTOMER} IS NOT DISTINCT FROM ?)""",
                    [customer],
                ).fetchall()
                found.setdefault(column, set()).update(value for (value,) in rows)
    return found


def totals(lake: Lake) -> dict[str, str]:
    """What the published facts add up to, as text; and of each day, as one hash. Empty where nothing is published."""
    found: dict[str, str] = {}
    sums = {
        "published.fct_orders": {"orders": "count(*)", "revenue": "sum(total_amount)"},
        "published.fct_order_items": {"order lines": "count(*)", "units": "sum(quantity)", "net": "sum(net_amount)"},
    }
    with lake.connect() as connection:
        for table, figures in sums.items():
            if not lake.exists(table):
                continue
            relation, chosen = f"({lake.relation_sql(table)})", ", ".join(figures.values())
            whole = _one(connection, f"SELECT {chosen} FROM {relation}", None)
            found |= {name: str(figure) for name, figure in zip(figures, whole, strict=True)}
            (days,) = _one(
                connection,
                f"""
                SELECT md5(string_agg(day, ';' ORDER BY day)) FROM (
                    SELECT concat_ws(',', CAST(CAST(ordered_at AS DATE) AS VARCHAR), {chosen}) AS day
                    FROM {relation} GROUP BY CAST(ordered_at AS DATE)
                )""",
                None,
            )
            found[f"days of {next(iter(figures))}"] = str(days)
    return found


def _personal_cells(lake: Lake) -> Iterator[str]:
    """A SELECT for each column that is tagged as personal data, in each table that has it."""
    for contract in CONTRACTS.values():
        tagged = [column for column in contract.columns if column.pii]
        if not tagged:
            continue
        for namespace in ("raw", "quarantine"):
            if not lake.exists(f"{namespace}.{contract.dataset}"):
                continue
            cells = _cells(lake, contract, namespace)
            for column in tagged:
                yield _cell_select(contract.dataset, column.name, str(column.pii), cells)
    # A resumed erasure may have rewritten the raw rows already; the mart is made anew later.
    customers = CONTRACTS["customers"]
    if lake.exists("published.dim_customers"):
        relation = f"SELECT *, {CUSTOMER} AS owner FROM ({lake.relation_sql('published.dim_customers')})"
        mart = _Cells(relation, True, {c.name: identifier(c.name) for c in customers.columns})
        for column in customers.columns:
            if column.pii:
                yield _cell_select(customers.dataset, column.name, column.pii, mart)


def _cell_select(dataset: str, column: str, kind: str, cells: _Cells) -> str:
    return (
        f"SELECT {literal(dataset)} AS dataset, {literal(column)} AS column_name, {literal(kind)} AS kind, "
        f"CAST({cells.select[column]} AS VARCHAR) AS value, owner, {str(cells.has_customer).lower()} AS has_customer "
        f"FROM ({cells.relation})"
    )


def _cells(lake: Lake, contract: Contract, namespace: str) -> _Cells:
    """The rows of a raw or quarantine table with their `owner`: by the customer, or else by the order."""
    names = contract.names
    if namespace == "raw":
        select = {name: identifier(name) for name in names}
    else:  # the row as it was delivered, in JSON
        select = {name: f'json_extract_string("row", {literal(f"$.{name}")})' for name in names}
    rows = f"({lake.relation_sql(f'{namespace}.{contract.dataset}')})"
    if CUSTOMER in names:
        return _Cells(f"SELECT *, {select[CUSTOMER]} AS owner FROM {rows}", True, select)
    if ORDER in names and lake.exists("raw.orders"):
        orders = f"(SELECT DISTINCT {ORDER} AS ordered, {CUSTOMER} AS owner FROM ({lake.relation_sql('raw.orders')}))"
        return _Cells(f"SELECT * FROM {rows} LEFT JOIN {orders} ON {select[ORDER]} = ordered", False, select)
    return _Cells(f"SELECT *, CAST(NULL AS VARCHAR) AS owner FROM {rows}", False, select)


def _one(connection: duckdb.DuckDBPyConnection, sql: str, names: list[str] | None) -> tuple[object, ...]:
    (row,) = connection.execute(sql, [names] if names is not None else []).fetchall()
    return tuple(row)
