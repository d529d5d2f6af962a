"""Who is linked with whom by cards, devices and addresses, over any number of steps, and how many chargebacks they had.

Actors and what they showed are the nodes of a graph, in which groups are connected components. As of one moment all of
them are found at once; `linked` tells of the orders of a window what each knew when it was placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROWS_AT_A_TIME = 100_000

# What comes first at a moment: an order knows of no chargeback of its own microsecond.
_ORDER, _CHARGEBACK = 0, 1
# What only one actor ever showed links nothing, and what an actor has shown before links nothing new.
_STEPS = {
    "links": """
        WITH shared_tokens AS (
            SELECT kind, token FROM shown WHERE kind <> 'network' GROUP BY ALL HAVING min(actor) <> max(actor)
        )
        SELECT kind, token, actor, order_id, order_date FROM shown SEMI JOIN shared_tokens USING (kind, token)
        QUALIFY row_number() OVER (PARTITION BY kind, token, actor ORDER BY us, order_id) = 1""",
    "linking_actors": """
        SELECT actor, starts_with(actor, $customer) AS is_customer, row_number() OVER (ORDER BY actor) - 1 AS place
        FROM (SELECT DISTINCT actor FROM links)""",
    "linking_tokens": """
        SELECT kind, token, row_number() OVER (ORDER BY kind, token) - 1 AS place
        FROM (SELECT DISTINCT kind, token FROM links)""",
}
_EARLIER = """
    SELECT a.place AS actor, t.place AS token
    FROM links JOIN linking_actors a USING (actor) JOIN linking_tokens t USING (kind, token)
    WHERE order_date < $first"""
_CHARGED_EARLIER = """
    SELECT a.place AS actor FROM charged_back c JOIN linking_actors a USING (actor)
    WHERE c.us < epoch_us(CAST($first AS TIMESTAMPTZ))"""
_LATER = f"""
    WITH showing AS (
        SELECT order_id, list(t.place) AS tokens FROM links JOIN linking_tokens t USING (kind, token)
        WHERE order_date >= $first GROUP BY order_id
    )
    SELECT p.us, {_ORDER} AS kind, p.order_id, a.place AS actor, coalesce(s.tokens, []) AS tokens
    FROM placed p JOIN linking_actors a USING (actor) LEFT JOIN showing s USING (order_id) WHERE p.order_date >= $first
    UNION ALL
    SELECT c.us, {_CHARGEBACK}, c.order_id, a.place, [] FROM charged_back c JOIN linking_actors a USING (actor)
    WHERE c.us >= epoch_us(CAST($first AS TIMESTAMPTZ))
    ORDER BY 1, 2, 3"""

Numbers = npt.NDArray[Any]


class Groups(NamedTuple):
    """The group of each actor and of each token, and how many customers and chargebacks each group has."""

    actors: Numbers
    tokens: Numbers
    customers: Numbers
    chargebacks: Numbers


def fetched(con: duckdb.DuckDBPyConnection, query: str, **given: object) -> dict[str, Numbers]:
    """The columns of a query, of the values `given` to those that it asks for."""
    found = con.execute(query, {name: value for name, value in given.items() if f"${name}" in query})
    return {name: np.asarray(values) for name, values in found.fetchnumpy().items()}


def groups(is_customer: Numbers, tokens: int, edges: Mapping[str, Numbers], charged: Numbers) -> Groups:
    """The connected components of actors and of so many tokens, all told by their places.

    `edges` are pairs of an `actor` and a `token`, and `charged` has an actor for each chargeback.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    actors = len(is_customer)
    size = actors + tokens
    if not size:
        nobody = np.empty(0, np.int32)
        return Groups(nobody, nobody, nobody, nobody)
    links = csr_array((np.ones(len(edges["actor"]), bool), (edges["actor"], actors + edges["token"])), (size, size))
    count, labels = connected_components(links, directed=False)
    of_actors = labels[:actors]
    return Groups(
        of_actors,
        labels[actors:],
        np.bincount(of_actors[is_customer.astype(bool)], minlength=count),
        np.bincount(of_actors[charged], minlength=count),
    )


def linked(con: duckdb.DuckDBPyConnection, first: date, customer: str) -> pa.Table:
    """For orders from `first` on with a card, device or address that others showed too: what they link, in numbers.

    Made of the temporary tables `placed`, `shown` and `charged_back`; an actor that begins with `customer` is one.
    What was linked before `first` is found at once, and what is since, order by order.
    """
    for name, query in _STEPS.items():
        given = {"customer": customer} if "$customer" in query else {}
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", given)
    is_customer = fetched(con, "SELECT is_customer FROM linking_actors ORDER BY place")["is_customer"]
    ((tokens,),) = con.execute("SELECT count(*) FROM linking_tokens").fetchall()
    charged = fetched(con, _CHARGED_EARLIER, first=first)["actor"]
    growing = _Growing(groups(is_customer, tokens, fetched(con, _EARLIER, first=first), charged))
    orders: list[str] = []
    counts: list[tuple[int, int]] = []
    for _, kind, order_id, actor, shown in _rows(con.execute(_LATER, {"first": first})):
        if kind == _CHARGEBACK:
            growing.charge(actor)
        else:
            orders.append(order_id)
            counts.append(growing.join(actor, shown))
    customers, chargebacks = zip(*counts, strict=True) if counts else ((), ())
    return pa.table(
        {
            "order_id": pa.array(orders, pa.string()),
            "customers": pa.array(customers, pa.int64()),
            "chargebacks": pa.array(chargebacks, pa.int64()),
        }
    )


class _Growing:
    """Groups that are joined step by step: a union-find over those that there were at first."""

    def __init__(self, found: Groups) -> None:
        self._actors, self._tokens = found.actors.tolist(), found.tokens.tolist()
        self._customers, self._chargebacks = found.customers.tolist(), found.chargebacks.tolist()
        self._parent = list(range(len(self._customers)))

    def join(self, actor: int, tokens: list[int]) -> tuple[int, int]:
        """Put an actor and what they show into one group; its customers and chargebacks."""
        root = self._root(self._actors[actor])
        for token in tokens:
            other = self._root(self._tokens[token])
            if other != root:
                self._parent[other] = root
                self._customers[root] += self._customers[other]
                self._chargebacks[root] += self._chargebacks[other]
        return self._customers[root], self._chargebacks[root]

    def charge(self, actor: int) -> None:
        """Count a chargeback to the actor's group."""
        self._chargebacks[self._root(self._actors[actor])] += 1

    def _root(self, group: int) -> int:
        parent = self._parent
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[tuple[int, int, str, int, list[int]]]:
    while rows := found.fetchmany(ROWS_AT_A_TIME):
        yield from rows
