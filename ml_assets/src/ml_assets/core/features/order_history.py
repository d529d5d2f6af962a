"""The order history of a release: what the order-risk features of tomorrow's orders need to know of those before.

The facts are the temporary tables of `order_risk`, by the same SQL; here they are summed up to a moment, and looked up
again. The form of the file is `cartograph.releases.order_history`, and how features follow from it is `order_ledger`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from cartograph.releases.order_history import (
    NEVER,
    NO_KEY,
    SCHEMA,
    Columns,
    Keys,
    contains,
    key_sql,
    open_history,
    pair,
    pairs,
    place_of,
)
from cartograph.windows import at_midnight
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.order_links import fetched, groups
from ml_assets.core.features.order_risk import CUSTOMER, DAY, HOUR, VISITING, facts

KINDS = ("card", "device", "network", "address")
"""What an order shows that others may have shown. All but the network link those who show it."""
NO_CATEGORY = ""
"""Stands for the category of a product that has none."""
MONTH_DAYS = 30

Values = npt.NDArray[Any]

_CUSTOMER_KEY = key_sql("'customer'", f"substr(actor, {len(CUSTOMER) + 1})")
_TOKEN_KEY = key_sql("kind", "token")
_CATEGORY_KEY = key_sql("'category'", f"coalesce(category, '{NO_CATEGORY}')")

_NUMBERED = {
    "known_actors": f"""
        SELECT actor, actor LIKE '{CUSTOMER}%' AS is_customer, row_number() OVER (ORDER BY actor) - 1 AS place,
            min(us) AS first_us, max(us) AS last_us, count(*) AS orders, sum(total_amount) AS spent
        FROM placed GROUP BY actor""",
    "known_tokens": f"""
        SELECT kind, token, {_TOKEN_KEY} AS key, row_number() OVER (ORDER BY kind, token) - 1 AS place,
            count(DISTINCT actor) FILTER (actor LIKE '{CUSTOMER}%') AS customers
        FROM shown GROUP BY kind, token""",
}

_QUERIES = {
    "edges": """
        SELECT DISTINCT a.place AS actor, t.place AS token
        FROM shown s JOIN known_actors a USING (actor) JOIN known_tokens t USING (kind, token)
        WHERE kind <> 'network'""",
    "actors": "SELECT is_customer FROM known_actors ORDER BY place",
    "charged": """
        SELECT a.place AS actor FROM charged_back c JOIN known_actors a USING (actor) WHERE c.us < $moment""",
    "tokens": "SELECT key, customers, place, kind = 'network' AS links_nobody FROM known_tokens ORDER BY key",
    "customers": f"""
        WITH on_file AS (
            SELECT '{CUSTOMER}' || customer_id AS actor, *
            FROM ({{dim_customers}}) WHERE valid_from < make_timestamptz($moment)
            QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY valid_from DESC) = 1
        )
        SELECT {_CUSTOMER_KEY} AS key, coalesce(epoch_us(f.registered_at), {NEVER}) AS registered_us,
            CASE WHEN f.street <> '' THEN {key_sql("'address'", "concat_ws('|', street, postal_code, city, country)")}
                ELSE {NO_KEY} END AS address,
            coalesce({key_sql("'city'", "nullif(f.city, '')")}, {NO_KEY}) AS city,
            coalesce({key_sql("'country'", "nullif(f.country, '')")}, {NO_KEY}) AS country,
            coalesce(a.first_us, {NEVER}) AS first_us, coalesce(a.last_us, {NEVER}) AS last_us,
            coalesce(a.orders, 0) AS orders, CAST(coalesce(a.spent, 0) * 100 AS BIGINT) AS spent_cents,
            coalesce(a.place, -1) AS place
        FROM on_file f FULL JOIN (FROM known_actors WHERE is_customer) a USING (actor) ORDER BY key""",
    "shown_by": f"""
        SELECT DISTINCT {_TOKEN_KEY} AS token, {_CUSTOMER_KEY} AS customer
        FROM shown WHERE actor LIKE '{CUSTOMER}%'""",
    "bought_from": f"""
        SELECT DISTINCT {_CATEGORY_KEY} AS token, {_CUSTOMER_KEY} AS customer
        FROM placed p JOIN ({{fct_order_items}}) i USING (order_id) JOIN ({{dim_products}}) d USING (product_key)
        WHERE actor LIKE '{CUSTOMER}%'""",
    "recent": f"""
        SELECT {_CUSTOMER_KEY} AS key, us FROM placed WHERE actor LIKE '{CUSTOMER}%' AND us >= $moment - {7 * DAY}
        UNION ALL SELECT {_TOKEN_KEY}, us FROM shown WHERE us >= $moment - {DAY}
        ORDER BY key, us""",
    "declined": f"""
        SELECT {_CUSTOMER_KEY} AS key, us FROM declined
        WHERE actor LIKE '{CUSTOMER}%' AND us >= $moment - {7 * DAY} AND us < $moment
        UNION ALL SELECT {key_sql("'card'", "card")}, us FROM declined
        WHERE card IS NOT NULL AND us >= $moment - {7 * DAY} AND us < $moment
        ORDER BY key, us""",
    "days": f"""
        SELECT order_date - DATE '1970-01-01' AS number, CAST(sum(total_amount) * 100 AS BIGINT) AS cents,
            count(*) AS orders
        FROM placed WHERE us >= $moment - {MONTH_DAYS * DAY} GROUP BY order_date ORDER BY order_date""",
    "products": f"""
        SELECT {key_sql("'product'", "product_id")} AS key, {_CATEGORY_KEY} AS category
        FROM ({{dim_products}}) WHERE valid_from < make_timestamptz($moment)
        QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY valid_from DESC) = 1 ORDER BY key""",
}
_VISITS = f"""
    SELECT {key_sql("'customer'", "customer_id")} AS key, {key_sql("'event'", "event_id")} AS event,
        epoch_us(received_at) AS us
    {VISITING}
        AND received_at >= make_timestamptz($moment - {HOUR}) AND received_at < make_timestamptz($moment)
    ORDER BY key"""


def history_columns(con: duckdb.DuckDBPyConnection, marts: Marts, as_of: date) -> tuple[int, dict[str, Values]]:
    """What was known before the day `as_of` began: its moment, and the columns for `write_history`.

    `con` must work in UTC; temporary tables are made in it. `marts` has a DuckDB SELECT for each of `order_risk.MARTS`,
    and of `order_risk.OPTIONAL_MARTS` for those that the shop has: without events there are no columns of visits.
    """
    facts(con, marts, as_of)
    for name, query in _NUMBERED.items():
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
    moment = int(at_midnight(as_of).timestamp()) * 1_000_000
    queries = {**_QUERIES, **({"visit": _VISITS} if "fct_events" in marts else {})}
    found = {name: fetched(con, query.format(**marts), moment=moment) for name, query in queries.items()}
    linked = groups(
        found["actors"]["is_customer"], len(found["tokens"]["key"]), found["edges"], found["charged"]["actor"]
    )
    customers, tokens = found["customers"], found["tokens"]
    placed = customers["place"] >= 0
    in_group = np.where(placed, linked.actors[np.where(placed, customers["place"], 0)], -1) if placed.any() else -1
    linking = ~tokens["links_nobody"].astype(bool)
    pair_keys = np.concatenate([pairs(found[name]["token"], found[name]["customer"]) for name in _PAIRS])
    columns = {
        **{f"customer_{name}": values for name, values in customers.items() if name != "place"},
        "customer_group": np.broadcast_to(in_group, len(placed)),
        "pair_key": np.sort(pair_keys),
        "token_key": tokens["key"],
        "token_customers": tokens["customers"],
        "token_group": np.where(linking, linked.tokens[tokens["place"]], -1) if len(linking) else np.empty(0),
        "group_customers": linked.customers,
        "group_chargebacks": linked.chargebacks,
        **{f"{name}_{column}": values for name in ("recent", "declined") for column, values in found[name].items()},
        **{f"day_{name}": values for name, values in found["days"].items()},
        **{f"product_{name}": values for name, values in found["products"].items()},
        **{f"visit_{name}": values for name, values in found.get("visit", {}).items()},
    }
    kinds = {field.name: field.type.value_type.to_pandas_dtype() for field in SCHEMA}
    return moment, {name: np.ascontiguousarray(values, dtype=kinds[name]) for name, values in columns.items()}


_PAIRS = ("shown_by", "bought_from")


class OnFile(NamedTuple):
    """What a history knows of a customer; zeros and `NEVER` for whom it does not know."""

    registered_us: int
    address: int
    city: int
    country: int
    first_us: int
    last_us: int
    orders: int
    spent_cents: int
    group: int


STRANGER = OnFile(NEVER, NO_KEY, NO_KEY, NO_KEY, NEVER, NEVER, 0, 0, -1)


class OrderHistory:
    """The orders before the moment `as_of_us`, memory-mapped: a look-up is a binary search. It is never changed."""

    def __init__(self, as_of_us: int, columns: Columns) -> None:
        self.as_of_us = as_of_us
        self._columns = columns

    @classmethod
    def open(cls, path: Path) -> OrderHistory:
        """The history in a release's file.

        Raises:
            ContentError: it is damaged.
        """
        return cls(*open_history(path))

    def customer(self, key: int) -> OnFile:
        """What is known of a customer."""
        place = place_of(self._columns["customer_key"], key)
        if place is None:
            return STRANGER
        return OnFile(*(int(self._columns[f"customer_{name}"][place]) for name in OnFile._fields))

    def token(self, key: int) -> tuple[int, int | None]:
        """How many customers have ordered with a token, and its group; none of both for one that nobody showed."""
        place = place_of(self._columns["token_key"], key)
        if place is None:
            return 0, None
        return int(self._columns["token_customers"][place]), int(self._columns["token_group"][place])

    def has_pair(self, token: int, customer: int) -> bool:
        """Whether the customer has ordered with the token, or from the category."""
        return contains(self._columns["pair_key"], pair(token, customer))

    def category(self, product: int) -> int | None:
        """The category of a product, `UNCATEGORISED` for one without; None of a product that is not known."""
        place = place_of(self._columns["product_key"], product)
        return None if place is None else int(self._columns["product_category"][place])

    def group(self, number: int) -> tuple[int, int]:
        """The customers and the chargebacks of a group."""
        return int(self._columns["group_customers"][number]), int(self._columns["group_chargebacks"][number])

    def ordered(self, key: int, since: int, before: int) -> int:
        """The orders of a customer or with a token in `[since, before)`, which must not reach back over 7 days or 1."""
        return _within(self._columns["recent_key"], self._columns["recent_us"], key, since, before)

    def latest(self, key: int, before: int) -> int | None:
        """The latest of the orders of a customer or with a token, of which the last days are known, before a moment."""
        moments = _of_key(self._columns["recent_key"], self._columns["recent_us"], key)
        place = bisect_left(moments, before)
        return moments[place - 1] if place else None

    def declined(self, key: int, since: int, before: int) -> int:
        """The payments of a customer or with a card that were declined in `[since, before)`, of the last 7 days."""
        return _within(self._columns["declined_key"], self._columns["declined_us"], key, since, before)

    @property
    def tells_visits(self) -> bool:
        """Whether it is known what customers do in the shop: not where there are no events."""
        return "visit_key" in self._columns

    def visits(self, key: int) -> dict[int, int]:
        """When events of a customer that count for a visit were received in the last hour, by the events' keys."""
        rows = _rows_of(self._columns["visit_key"], key)
        return dict(zip(*(self._columns[name][rows].tolist() for name in ("visit_event", "visit_us")), strict=True))

    def days(self) -> Iterator[tuple[int, int, int]]:
        """The number, the amount in hundredths and the orders of each of the last days."""
        names = ("day_number", "day_cents", "day_orders")
        yield from zip(*(self._columns[name].tolist() for name in names), strict=True)


def _within(keys: Keys, moments: Any, key: int, since: int, before: int) -> int:
    """How many of the entries of `key`, sorted by key and moment, are in `[since, before)`."""
    of_key = _of_key(keys, moments, key)
    return bisect_left(of_key, before) - bisect_left(of_key, since)


def _of_key(keys: Keys, moments: Any, key: int) -> list[int]:
    found: list[int] = moments[_rows_of(keys, key)].tolist()
    return found


def _rows_of(keys: Keys, key: int) -> slice:
    """Where `key` is among the sorted `keys`."""
    wanted = np.uint64(key)
    return slice(int(np.searchsorted(keys, wanted, side="left")), int(np.searchsorted(keys, wanted, side="right")))
