"""A small shop with planted truth, as published marts: purchase rates, drop-out times and campaign effects are known.

Drawn in numpy and independent of the simulator, so that models are held against a truth that did not shape them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cartograph.contracts import ARROW_TYPES, Column, Contract
from cartograph.lake import Lake

START = date(2024, 1, 1)
EPOCH = np.datetime64(START.isoformat(), "us")
END_DAY = 640
SECONDS_A_DAY = 86_400
OWN_DAY_SHARE = 0.7
"""So much of what is bought is one of the products of that weekday; the rest is any product."""

RANDOM, OBSERVED, SELECTED, NO_OVERLAP = "email_random", "email_winback", "email_selected", "email_all"
CAMPAIGN_DAYS = {RANDOM: 350, OBSERVED: 430, SELECTED: 510, NO_OVERLAP: 590}
EFFECT = 12.0
MARGIN_RATE = 0.4
PRODUCTS, SHELVES = 84, 6
ON_SHELF = 0.8
"""The share of a customer's purchases from their own shelf, that of their number modulo `SHELVES`."""


@dataclass(frozen=True)
class Planted:
    """The marts, and for each customer (`C00000`, in order) the rates a day of ordering and of dropping out."""

    marts: dict[str, pa.Table]
    order_rate: np.ndarray
    drop_rate: np.ndarray

    def write(self, folder: Path) -> dict[str, str]:
        """Write the marts as Parquet files; a DuckDB SELECT for each."""
        for name, table in self.marts.items():
            pq.write_table(table, folder / f"{name}.parquet")
        return {name: f"SELECT * FROM read_parquet('{folder / f'{name}.parquet'}')" for name in self.marts}

    def oracle(self, customer_ids: list[str], recency_days: np.ndarray, horizon: int) -> np.ndarray:
        """P(no order within `horizon` days) of one who knows each customer's two rates and last order (Pareto/NBD)."""
        chosen = np.array([int(customer[1:]) for customer in customer_ids])
        rate, drop = self.order_rate[chosen], self.drop_rate[chosen]
        both = rate + drop
        alive = 1 / (1 + drop / both * np.expm1(both * recency_days))
        return 1 - alive * rate / both * -np.expm1(-both * horizon)


def planted_shop(customers: int = 2500, seed: int = 4) -> Planted:
    """Customers register over 14 months, order at their own rate, and drop out unseen; four campaigns mail them."""
    draw = np.random.default_rng(seed)
    registered = np.sort(draw.integers(0, 420, customers))
    order_rate = draw.gamma(1.5, 1 / 50, customers)
    drop_rate = draw.gamma(2.0, 1 / 500, customers)
    dropped = np.minimum(registered + draw.exponential(1 / drop_rate), END_DAY)
    counts = draw.poisson(order_rate * (dropped - registered))
    owner = np.concatenate([np.arange(customers), np.repeat(np.arange(customers), counts)])
    moment = np.concatenate([registered + 0.5, draw.uniform(np.repeat(registered, counts), np.repeat(dropped, counts))])

    amount = _amounts(draw, len(owner))
    sent_owner, sent_moment, sent_campaign = [], [], []
    for campaign, day in CAMPAIGN_DAYS.items():
        here = registered < day - 1
        last = np.full(customers, -1.0)
        before = moment < day
        recent = before & (moment >= day - 13)
        np.maximum.at(last, owner[before], moment[before])
        chance = {
            RANDOM: np.full(customers, 0.5),
            OBSERVED: 1 / (1 + np.exp(-(np.log1p(day - last) - 3.5))),
            SELECTED: 0.2 + 0.7 * (np.bincount(owner[recent], amount[recent], customers) > 70),
            NO_OVERLAP: np.where(day - last < 150, 0.999, 0.001),
        }[campaign]
        treated = np.flatnonzero(here & (draw.random(customers) < chance))
        extra = treated[draw.random(len(treated)) < 0.25]
        owner = np.append(owner, extra)
        moment = np.append(moment, draw.uniform(day + 1, day + 13, len(extra)))
        amount = np.append(amount, _amounts(draw, len(extra)))
        sent_owner.append(treated)
        sent_moment.append(np.full(len(treated), day + 0.3))
        sent_campaign += [campaign] * len(treated)

    order = np.argsort(moment, kind="stable")
    owner, moment, amount = owner[order], moment[order], amount[order]
    cancelled = draw.random(len(owner)) < 0.02
    ids = np.char.add("C", np.char.zfill(np.arange(customers).astype(str), 5))
    order_ids = np.char.add("O", np.char.zfill(np.arange(len(owner)).astype(str), 7))
    at = _moments(moment)
    money = pa.array(amount).cast(pa.decimal128(18, 2))
    nothing = pa.array(np.zeros(len(owner))).cast(pa.decimal128(18, 2))

    products = np.char.add("P", np.arange(PRODUCTS).astype(str))
    visits = draw.poisson(np.maximum(order_rate * (dropped - registered), 0.1) * 2)
    visitor = np.concatenate([np.repeat(np.arange(customers), visits), owner])
    visited = np.concatenate(
        [draw.uniform(np.repeat(registered, visits), np.repeat(dropped, visits)), np.maximum(moment - 0.01, 0)]
    )
    mailed, mailed_at = np.concatenate(sent_owner), np.concatenate(sent_moment)
    occurred = _moments(np.concatenate([visited, mailed_at]))
    bought = _products(draw, owner, (START.weekday() + moment.astype(int)) % 7)
    days = [date_of(number) for number in range(END_DAY + 60)]
    shelf = np.tile(np.arange(PRODUCTS), END_DAY)
    marts = {
        "dim_customers": pa.table(
            {
                "customer_id": ids,
                "version_number": np.ones(customers, np.int64),
                "valid_from": _moments(registered + 0.4),
                "valid_to": pa.nulls(customers, pa.timestamp("us", "UTC")),
                "is_current": np.ones(customers, bool),
                "registered_at": _moments(registered + 0.4),
                "loyalty_tier": pa.nulls(customers, pa.string()),
                "is_email_opt_in": draw.random(customers) < 0.9,
            }
        ),
        "dim_products": pa.table(
            {
                "product_key": products,
                "product_id": products,
                "version_number": np.ones(PRODUCTS, np.int64),
                "valid_from": pa.array([datetime(1900, 1, 1, tzinfo=UTC)] * PRODUCTS),
                "valid_to": pa.nulls(PRODUCTS, pa.timestamp("us", "UTC")),
                "is_current": np.ones(PRODUCTS, bool),
                "is_active": np.arange(PRODUCTS) != PRODUCTS - 1,
                "category": np.char.add("shelf ", (np.arange(PRODUCTS) % SHELVES).astype(str)),
                "list_price": pa.array(10.0 + np.arange(PRODUCTS) % 40).cast(pa.decimal128(18, 4)),
                "unit_cost": pa.array(6.0 + np.arange(PRODUCTS) % 24).cast(pa.decimal128(18, 4)),
            }
        ),
        "fct_orders": pa.table(
            {
                "order_id": order_ids,
                "ordered_at": at,
                "order_date": at.cast(pa.date32()),
                "customer_id": ids[owner],
                "geography_key": ["Vienna"] * len(owner),
                "status": np.where(cancelled, "cancelled", "completed"),
                "channel": ["direct"] * len(owner),
                "device": ["desktop"] * len(owner),
                "coupon_code": pa.nulls(len(owner), pa.string()),
                "line_count": np.ones(len(owner), np.int64),
                "item_quantity": draw.integers(1, 6, len(owner)),
                "gross_amount": money,
                "discount_amount": nothing,
                "shipping_amount": nothing,
                "total_amount": money,
                "is_cancelled": cancelled,
            }
        ),
        "fct_order_items": pa.table(
            {
                "order_id": order_ids,
                "line_number": np.ones(len(owner), np.int64),
                "ordered_at": at,
                "customer_id": ids[owner],
                "order_date": at.cast(pa.date32()),
                "product_id": products[bought],
                "product_key": products[bought],
                "quantity": 1 + bought % 3,
                "discount_amount": nothing,
                "gross_amount": money,
                "net_amount": money,
                "margin_amount": pa.array(amount * MARGIN_RATE).cast(pa.decimal128(18, 2), safe=False),
                "is_cancelled": cancelled,
            }
        ),
        "market_basket_rules": pa.table(
            {
                "antecedent_product_id": ["P0", "P0", "P1", "P1"],
                "consequent_product_id": ["P1", f"P{PRODUCTS - 1}", "P0", "P2"],
                "orders_count": [8, 9, 8, 6],
                "antecedent_orders_count": [64, 64, 25, 25],
                "consequent_orders_count": [25, 10, 64, 9],
            }
        ),
        "fct_events": pa.table(
            {
                "event_id": np.arange(len(occurred)).astype(str),
                "occurred_at": occurred,
                "received_at": occurred,
                "event_type": ["product_view"] * len(visitor) + ["email_sent"] * len(mailed),
                "customer_id": ids[np.concatenate([visitor, mailed])],
                "product_id": pa.array([*products[np.arange(len(visitor)) % PRODUCTS], *[None] * len(mailed)]),
                "session_key": pa.array([*np.arange(len(visitor)).astype(str), *[None] * len(mailed)]),
                "device": ["desktop"] * len(occurred),
                "channel": ["direct"] * len(occurred),
                "campaign_id": pa.array([None] * len(visitor) + sent_campaign, pa.string()),
            }
        ),
        "fct_inventory_daily": pa.table(
            {
                "product_id": products[shelf],
                "snapshot_date": pa.array([day for day in days[:END_DAY] for _ in range(PRODUCTS)]),
                "product_key": products[shelf],
                "quantity_on_hand": 1 + shelf % 9,
                "quantity_received": np.zeros(len(shelf), np.int64),
            }
        ),
        "dim_dates": pa.table(
            {"date_day": pa.array(days), "is_holiday": [day.month == 5 and day.day == 1 for day in days]}
        ),
        "dim_campaigns": pa.table(
            {
                "campaign_id": list(CAMPAIGN_DAYS),
                "channel": ["email"] * len(CAMPAIGN_DAYS),
                "budget_amount": pa.array([100.0] * len(CAMPAIGN_DAYS)).cast(pa.decimal128(18, 2)),
            }
        ),
        "rfm_segments": pa.table(
            {
                "customer_id": ids,
                "as_of_date": pa.array([date_of(END_DAY)] * customers),
                "segment": np.where(order_rate > np.median(order_rate), "Champions", "Hibernating"),
            }
        ),
    }
    return Planted({**marts, **_reported(marts)}, order_rate, drop_rate)


def _reported(marts: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The marts that are made of the others."""
    selects = {
        "dim_geographies": "SELECT 'Vienna' AS geography_key, 'AT' AS country",
        "agg_daily_sales": """SELECT order_date, count(*) AS orders_count,
            sum(total_amount)::DECIMAL(18, 2) AS revenue_amount,
            sum(gross_amount)::DECIMAL(18, 2) AS gross_amount, sum(discount_amount)::DECIMAL(18, 2) AS discount_amount,
            sum(margin_amount)::DECIMAL(18, 2) AS margin_amount
            FROM fct_orders JOIN (SELECT order_id, margin_amount FROM fct_order_items) USING (order_id)
            WHERE NOT is_cancelled GROUP BY ALL""",
        "conversion_funnel": """SELECT occurred_at::DATE AS session_date, channel, device,
            count(DISTINCT session_key) AS sessions_count, 0::BIGINT AS bounces_count,
            0::BIGINT AS purchase_sessions_count FROM fct_events WHERE session_key NOTNULL GROUP BY ALL""",
    }
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for name, table in marts.items():
            con.register(name, table)
        return {name: con.execute(select).to_arrow_table() for name, select in selects.items()}


def date_of(number: int) -> date:
    """The date of the day `number` of the shop."""
    return START + timedelta(days=number)


def utc(number: float) -> datetime:
    """The moment `number` days after the shop's start."""
    return datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=number)


def _amounts(draw: np.random.Generator, orders: int) -> np.ndarray:
    """Order totals with a mean of 48: a quarter of the treated order once more, for 12 on average."""
    return np.round(draw.gamma(3.0, 16.0, orders), 2)


def own_weekday(product_id: str) -> int:
    """The day of the week, from Monday as 0, on which a product is bought most: its place on its shelf, modulo 7."""
    return int(product_id[1:]) // SHELVES % 7


def _products(draw: np.random.Generator, owner: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """The number of a product for each line: mostly of the customer's shelf, and of the weekday."""
    places = PRODUCTS // SHELVES
    on_day = weekday + 7 * draw.integers(0, places // 7, len(owner))
    place = np.where(draw.random(len(owner)) < OWN_DAY_SHARE, on_day, draw.integers(0, places, len(owner)))
    shelf = np.where(draw.random(len(owner)) < ON_SHELF, owner % SHELVES, draw.integers(0, SHELVES, len(owner)))
    return place * SHELVES + shelf


def _moments(days: np.ndarray) -> pa.Array:
    microseconds = (np.asarray(days, float) * SECONDS_A_DAY * 1e6).astype("timedelta64[us]")
    return pa.array(EPOCH + microseconds, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


def contract_of(name: str, table: pa.Table) -> Contract:
    """A contract that `table` fulfils, for writing it to a lake."""
    types = {kind: column for column, kind in ARROW_TYPES.items()}
    columns = tuple(
        Column(name=f.name, type=types[f.type], nullable=True, description=f"{f.name} of {name}") for f in table.schema
    )
    event_time = {
        "fct_orders": "ordered_at",
        "fct_order_items": "ordered_at",
        "fct_payments": "paid_at",
        "fct_refunds": "refunded_at",
        "fct_events": "occurred_at",
        "fct_inventory_daily": "snapshot_date",
    }.get(name)
    return Contract(dataset=name, grain="A row.", columns=columns, key=(table.column_names[0],), event_time=event_time)


def publish(shop: Planted, lake: Lake) -> None:
    """Write the planted marts to `lake`."""
    publish_marts(shop.marts, lake)


def publish_marts(marts: dict[str, pa.Table], lake: Lake) -> None:
    """Write marts to `lake` as `published.*`, the way the other code location does."""
    for name, table in marts.items():
        contract = contract_of(name, table)
        lake.ensure(f"published.{name}", contract, "monthly" if contract.event_time else None)
        with lake.overwriting(f"published.{name}", None) as writer:
            writer.write(table.cast(contract.arrow_schema()))
