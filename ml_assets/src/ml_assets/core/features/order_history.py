"""The order history of a release: what the order-risk features of tomorrow's orders need to know of those before.

The facts are the temporary tables of `order_risk`, by the same SQL; here they are summed up to a moment. The form of
the file is `cartograph.releases.order_history`, and how an order's features follow from it is `order_ledger`.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from cartograph.releases.order_history import NEVER, NO_KEY, SCHEMA, key_sql, pairs
from cartograph.windows import at_midnight
from ml_assets.core.features.customers import Marts
from ml_assets.core.features.order_risk import CUSTOMER, DAY, facts

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


def history_columns(con: duckdb.DuckDBPyConnection, marts: Marts, as_of: date) -> tuple[int, dict[str, Values]]:
    """What was known before the day `as_of` began: its moment, and the columns for `write_history`.

    `con` must work in UTC; temporary tables are made in it. `marts` has a DuckDB SELECT for each of `order_risk.MARTS`.
    """
    facts(con, marts, as_of)
    for name, query in _NUMBERED.items():
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
    moment = int(at_midnight(as_of).timestamp()) * 1_000_000
    found = {name: _fetched(con, query.format(**marts), moment) for name, query in _QUERIES.items()}
    group_of, groups = _groups(found)
    customers, tokens = found["customers"], found["tokens"]
    placed = customers["place"] >= 0
    in_group = np.where(placed, group_of["actors"][np.where(placed, customers["place"], 0)], -1) if placed.any() else -1
    linking = ~tokens["links_nobody"].astype(bool)
    pair_keys = np.concatenate([pairs(found[name]["token"], found[name]["customer"]) for name in _PAIRS])
    columns = {
        **{f"customer_{name}": values for name, values in customers.items() if name != "place"},
        "customer_group": np.broadcast_to(in_group, len(placed)),
        "pair_key": np.sort(pair_keys),
        "token_key": tokens["key"],
        "token_customers": tokens["customers"],
        "token_group": np.where(linking, group_of["tokens"][tokens["place"]], -1) if len(linking) else np.empty(0),
        **groups,
        **{f"{name}_{column}": values for name in ("recent", "declined") for column, values in found[name].items()},
        **{f"day_{name}": values for name, values in found["days"].items()},
        **{f"product_{name}": values for name, values in found["products"].items()},
    }
    kinds = {field.name: field.type.value_type.to_pandas_dtype() for field in SCHEMA}
    return moment, {name: np.ascontiguousarray(columns[name], dtype=kind) for name, kind in kinds.items()}


_PAIRS = ("shown_by", "bought_from")


def _groups(found: dict[str, dict[str, Values]]) -> tuple[dict[str, Values], dict[str, Values]]:
    """The group of each actor and token, by their places, and what each group counts: those linked over any steps."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    actors, tokens, edges = len(found["actors"]["is_customer"]), len(found["tokens"]["key"]), found["edges"]
    size = actors + tokens
    if not size:
        nobody = np.empty(0, np.int32)
        return {"actors": nobody, "tokens": nobody}, {"group_customers": nobody, "group_chargebacks": nobody}
    links = csr_array((np.ones(len(edges["actor"]), bool), (edges["actor"], actors + edges["token"])), (size, size))
    count, labels = connected_components(links, directed=False)
    of_actors = labels[:actors]
    counts = {
        "group_customers": np.bincount(of_actors[found["actors"]["is_customer"].astype(bool)], minlength=count),
        "group_chargebacks": np.bincount(of_actors[found["charged"]["actor"]], minlength=count),
    }
    return {"actors": of_actors, "tokens": labels[actors:]}, counts


def _fetched(con: duckdb.DuckDBPyConnection, query: str, moment: int) -> dict[str, Values]:
    fetched = con.execute(query, {"moment": moment} if "$moment" in query else {}).fetchnumpy()
    return {name: np.asarray(values) for name, values in fetched.items()}
