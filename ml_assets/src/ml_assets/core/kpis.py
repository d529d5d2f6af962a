"""The figures that a shop is steered by, by day and dimension: from these the API answers for any range of days.

Sums that add up over days and values are kept; what is a ratio of two of them is left to whoever asks. Customers do not
add up: one who comes back counts once. So of each customer's days with an order is kept on which day the one before it
was, and those of a range are the days in it whose day before lies ahead of it: exact for any range, from counts alone.

What is released of it, and which figures there are, is `cartograph.releases.contents`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Literal

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.releases.contents.kpis import Kpi

REQUIRED_MARTS = ("fct_orders", "fct_order_items", "dim_products", "dim_geographies", "rfm_segments", "agg_daily_sales")
OPTIONAL_MARTS = ("fct_refunds", "conversion_funnel")
TOTAL = "total"
OF_ORDERS = {
    TOTAL: "'all'",
    "country": "coalesce(o.country, 'unknown')",
    "channel": "coalesce(o.channel, 'unknown')",
    "device": "coalesce(o.device, 'unknown')",
    "segment": "o.segment",
}
"""The dimensions that an order has a value of; `segment` is the customer's of today, `guest` and `none` without one."""
OF_LINES = {**OF_ORDERS, "category": "coalesce(p.category, 'unknown')"}
OF_SESSIONS = {TOTAL: "'all'", "channel": "channel", "device": "device"}
MONEY = ("revenue", "gross", "discounts", "shipping", "refunds", "sales", "margin")
COUNTS = ("orders", "units", "sessions", "bounces", "purchase_sessions")

_DIMENSION = Column(name="dimension", type="string", description="What the day is split by; `total` for not at all.")
_VALUE = Column(name="value", type="string", description="The value of the dimension; `all` of `total`.")
_DATE = Column(name="date", type="date", description="The day (UTC).")
_WORDS = {
    "revenue": "Totals of orders, with shipping.",
    "gross": "Order lines before discounts.",
    "discounts": "Discounts of orders.",
    "shipping": "Shipping that was paid for.",
    "refunds": "What was paid back on the day, whenever it was ordered.",
    "sales": "Order lines after discounts, without shipping.",
    "margin": "Sales less what the goods cost; lines without a known cost are left out.",
    "orders": "Orders.",
    "units": "Units in order lines.",
    "customers": "Known customers with an order; who comes back counts once in a period.",
    "sessions": "Sessions that began on the day.",
    "bounces": "Sessions of one event.",
    "purchase_sessions": "Sessions with a purchase.",
}

SUMS = Contract(
    dataset="kpis",
    grain="A day, and a value of a dimension. Cancelled orders count nowhere.",
    key=("dimension", "value", "date"),
    columns=(
        *(_DIMENSION, _VALUE, _DATE),
        *(Column(name=name, type="money", description=_WORDS[name]) for name in MONEY),
        *(Column(name=name, type="bigint", description=_WORDS[name]) for name in COUNTS),
    ),
)
CUSTOMERS = Contract(
    dataset="kpi_customers",
    grain="A day, a value of a dimension, and the day on which customers of both had ordered last before.",
    key=("dimension", "value", "date", "previous_date"),
    columns=(
        *(_DIMENSION, _VALUE, _DATE),
        Column(
            name="previous_date",
            type="date",
            nullable=True,
            description="The day of these customers' order before, of the same value (UTC); null for their first.",
        ),
        Column(name="customers", type="bigint", description="Known customers with an order on the day."),
    ),
)


def sums(con: duckdb.DuckDBPyConnection, marts: Mapping[str, str], as_of: date) -> pa.Table:
    """The rows of `SUMS` before the day `as_of`; what a shop does not deliver is 0.

    `marts` has a DuckDB SELECT for each mart by its name; of `OPTIONAL_MARTS` those that the shop has.
    """
    parts = [
        *_split(OF_ORDERS, _orders(marts), "o.order_date", "NOT o.is_cancelled", {
            "revenue": "sum(o.total_amount)", "gross": "sum(o.gross_amount)", "discounts": "sum(o.discount_amount)",
            "shipping": "sum(o.shipping_amount)", "orders": "count(*)",
        }),
        *_split(OF_LINES, _lines(marts), "o.order_date", "NOT l.is_cancelled", {
            "sales": "sum(l.net_amount)", "margin": "sum(l.margin_amount)", "units": "sum(l.quantity)",
        }),
    ]  # fmt: skip
    if "fct_refunds" in marts:
        joined = f"""({marts["fct_refunds"]}) r
            LEFT JOIN {_orders(marts)} ON o.order_id = r.order_id
            LEFT JOIN {_categories(marts, "product_id = r.product_id AND p.is_current")}"""
        of_refunds = {**OF_LINES, "segment": "coalesce(o.segment, 'none')"}  # whose order is not known
        where = "o.is_cancelled IS NOT TRUE"
        parts += _split(of_refunds, joined, "r.refund_date", where, {"refunds": "sum(r.amount)"})
    if "conversion_funnel" in marts:
        of_sessions = {
            "sessions": "sum(sessions_count)",
            "bounces": "sum(bounces_count)",
            "purchase_sessions": "sum(purchase_sessions_count)",
        }
        parts += _split(OF_SESSIONS, f"({marts['conversion_funnel']})", "session_date", "true", of_sessions)
    columns = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in (*MONEY, *COUNTS))
    return (
        con.execute(
            f"""
            SELECT dimension, value, date, {columns} FROM ({" UNION ALL BY NAME ".join([_NOTHING, *parts])})
            WHERE date < $as_of GROUP BY ALL ORDER BY dimension, value, date""",
            {"as_of": as_of},
        )
        .to_arrow_table()
        .cast(SUMS.arrow_schema())
    )


def customers(con: duckdb.DuckDBPyConnection, marts: Mapping[str, str], as_of: date) -> pa.Table:
    """The rows of `CUSTOMERS` before the day `as_of`; of orders in several categories, as of all dimensions."""
    where = "NOT o.is_cancelled AND o.customer_id IS NOT NULL"
    of_orders = _split(OF_ORDERS, _orders(marts), "o.order_date", where, {"customer_id": "o.customer_id"})
    by_category = {"category": OF_LINES["category"]}
    of_lines = _split(by_category, _lines(marts), "o.order_date", where, {"customer_id": "o.customer_id"})
    return (
        con.execute(
            f"""
            SELECT dimension, value, date, previous_date, count(*) AS customers FROM (
                SELECT dimension, value, date,
                    lag(date) OVER (PARTITION BY dimension, value, customer_id ORDER BY date) AS previous_date
                FROM ({" UNION ALL BY NAME ".join([*of_orders, *of_lines])}) WHERE date < $as_of
            ) GROUP BY ALL ORDER BY dimension, value, date, previous_date NULLS FIRST""",
            {"as_of": as_of},
        )
        .to_arrow_table()
        .cast(CUSTOMERS.arrow_schema())
    )


def differing(
    con: duckdb.DuckDBPyConnection, kept: str, counted: str, marts: Mapping[str, str], as_of: date, samples: int
) -> tuple[int, list[str]]:
    """How many figures of days were compared, and the first of those that differ.

    `kept` and `counted` are DuckDB SELECTs of the tables of `SUMS` and `CUSTOMERS`. The totals of each day must be
    those of `agg_daily_sales`, which is made another way, and the values of each dimension must add up to them.
    """
    of_marts = {
        "orders": "orders_count",
        "revenue": "revenue_amount",
        "gross": "gross_amount",
        "discounts": "discount_amount",
        "margin": "margin_amount",
        **({"refunds": "refunded_amount"} if "fct_refunds" in marts else {}),
    }
    pairs = [
        f"""SELECT 'agg_daily_sales' AS part, date, '{name}' AS kpi, coalesce(k.{name}, 0) AS found,
                coalesce(m.{column}, 0) AS expected
            FROM (SELECT * FROM ({kept}) WHERE dimension = '{TOTAL}') k
            FULL JOIN (SELECT *, order_date AS date FROM ({marts["agg_daily_sales"]}) WHERE order_date < $as_of) m
            USING (date)"""
        for name, column in of_marts.items()
    ]
    for name, dimensions in DIMENSIONS.items():
        if name not in SUMS_OF:
            continue
        wanted = ", ".join(f"'{one}'" for one in dimensions if one != TOTAL)
        pairs.append(
            f"""SELECT d.dimension AS part, date, '{name}' AS kpi, coalesce(s.found, 0) AS found, t.{name} AS expected
            FROM (SELECT date, {name} FROM ({kept}) WHERE dimension = '{TOTAL}') t
            CROSS JOIN (SELECT unnest([{wanted}]) AS dimension) d
            LEFT JOIN (SELECT dimension, date, sum({name}) AS found FROM ({kept}) GROUP BY ALL) s
            USING (dimension, date)"""
        )
    pairs.append(
        f"""SELECT 'fct_orders' AS part, date, 'customers' AS kpi, coalesce(k.found, 0) AS found,
            coalesce(m.expected, 0) AS expected
        FROM (SELECT date, sum(customers) AS found FROM ({counted}) WHERE dimension = '{TOTAL}' GROUP BY ALL) k
        FULL JOIN (
            SELECT order_date AS date, count(DISTINCT customer_id) AS expected FROM ({marts["fct_orders"]})
            WHERE NOT is_cancelled AND order_date < $as_of GROUP BY ALL
        ) m USING (date)"""
    )
    every = " UNION ALL ".join(
        f"SELECT part, date, kpi, found::DOUBLE AS f, expected::DOUBLE AS e FROM ({one})" for one in pairs
    )
    compared = con.execute(f"SELECT count(*) FROM ({every})", {"as_of": as_of}).fetchone()
    found = con.execute(
        f"SELECT kpi, part, date, f, e FROM ({every}) WHERE abs(f - e) > 0.005 ORDER BY ALL LIMIT {samples:d}",
        {"as_of": as_of},
    ).fetchall()
    told = [f"{kpi} of {day} is {value:.2f}, and {wanted:.2f} by {part}" for kpi, part, day, value, wanted in found]
    return int(compared[0]) if compared else 0, told


OF_SESSIONS_ONLY = ("sessions", "bounces", "purchase_sessions")
SUMS_OF = frozenset({*MONEY, *COUNTS})
_LINE_KPIS = ("sales", "margin", "units", "refunds")
DIMENSIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("revenue", "gross", "discounts", "shipping", "orders"), tuple(OF_ORDERS)),
    **dict.fromkeys(_LINE_KPIS, tuple(OF_LINES)),
    **dict.fromkeys(OF_SESSIONS_ONLY, tuple(OF_SESSIONS)),
    "customers": tuple(OF_LINES),
}
"""The dimensions of each sum: a whole order has no category, and a session no country."""


def figures(marts: Collection[str], *, has_costs: bool) -> list[Kpi]:
    """The figures that a shop with these marts has: the sums, customers, and what is made of two of them.

    No margin where it is not known what anything costs.
    """
    absent = {
        *(() if has_costs else ("margin",)),
        *(() if "fct_refunds" in marts else ("refunds",)),
        *(() if "conversion_funnel" in marts else OF_SESSIONS_ONLY),
    }
    plain = [
        Kpi(
            name=name,
            description=_WORDS[name],
            unit="amount" if name in MONEY else "count",
            formula=name,
            dimensions=dimensions,
        )
        for name, dimensions in DIMENSIONS.items()
        if name not in absent
    ]
    made = [
        Kpi(name=name, description=words, unit=unit, formula=formula, dimensions=dimensions)
        for name, (formula, unit, dimensions, words) in _MADE.items()
        if absent.isdisjoint(formula.split(" "))
    ]
    return [*plain, *made]


_MADE: dict[str, tuple[str, Literal["amount", "count", "ratio"], tuple[str, ...], str]] = {
    "net_revenue": ("revenue - refunds", "amount", tuple(OF_ORDERS), "Revenue less refunds of the same days."),
    "average_order_value": ("revenue / orders", "amount", tuple(OF_ORDERS), "Revenue of an order."),
    "revenue_per_customer": ("revenue / customers", "amount", tuple(OF_ORDERS), "With the revenue of guests."),
    "margin_rate": ("margin / sales", "ratio", tuple(OF_LINES), "Margin as a part of sales."),
    "conversion": ("purchase_sessions / sessions", "ratio", tuple(OF_SESSIONS), "Sessions with a purchase of all."),
    "bounce_rate": ("bounces / sessions", "ratio", tuple(OF_SESSIONS), "Sessions of one event of all."),
}


_NOTHING = "SELECT " + ", ".join(
    [
        "''::VARCHAR AS dimension, ''::VARCHAR AS value, NULL::DATE AS date",
        *(f"NULL::DECIMAL(18, 2) AS {name}" for name in MONEY),
        *(f"NULL::BIGINT AS {name}" for name in COUNTS),
    ]
)
"""A row that names all columns; it has no date, so that it is in no answer."""


def _split(dimensions: Mapping[str, str], source: str, day: str, where: str, measures: Mapping[str, str]) -> list[str]:
    """A SELECT for each dimension: `measures` of `source` by its value and the day."""
    columns = ", ".join(f"{expression} AS {name}" for name, expression in measures.items())
    return [
        f"SELECT '{dimension}' AS dimension, {value} AS value, {day} AS date, {columns} FROM {source} "
        f"WHERE {where} GROUP BY ALL"
        for dimension, value in dimensions.items()
    ]


def _orders(marts: Mapping[str, str]) -> str:
    return f"""(
        SELECT f.*, g.country,
            CASE WHEN f.customer_id IS NULL THEN 'guest' ELSE coalesce(s.segment, 'none') END AS segment
        FROM ({marts["fct_orders"]}) f
        LEFT JOIN ({marts["dim_geographies"]}) g ON g.geography_key = f.geography_key
        LEFT JOIN (
            SELECT customer_id, arg_max(segment, as_of_date) AS segment FROM ({marts["rfm_segments"]}) GROUP BY ALL
        ) s ON s.customer_id = f.customer_id
    ) o"""


def _lines(marts: Mapping[str, str]) -> str:
    return f"""({marts["fct_order_items"]}) l JOIN {_orders(marts)} ON o.order_id = l.order_id
        LEFT JOIN {_categories(marts, "product_key = l.product_key")}"""


def _categories(marts: Mapping[str, str], on: str) -> str:
    return f"({marts['dim_products']}) p ON p.{on}"
