"""The features of an order are the same at the checkout as in training: simulated orders, replayed one by one.

Training has them by SQL over the whole shop; the checkout has the history that a release holds of the orders before its
date, and what came after one order, payment and chargeback at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from cartograph.releases.order_history import NEVER, NO_KEY, key_of, write_history
from ml_assets.core.features import order_risk
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_history import OrderHistory, history_columns
from ml_assets.core.features.order_ledger import Line, OrderLedger, Outcome, Placed
from ml_assets.core.features.order_risk import NO_VISIT
from tests.model.simulated import simulated_marts

AS_OF, END = date(2024, 6, 1), date(2024, 9, 1)
FEATURES = [feature.name for feature in ORDER_RISK.features]
ORDER, DECLINED, CHARGEBACK, EVENT = range(4)
Marts = Mapping[str, str]

ORDERS = """
    WITH attempts AS (
        SELECT order_id, card_fingerprint AS card, device_id AS device, ip_address AS network FROM ({fct_payments})
        QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY paid_at, payment_id) = 1
    )
    SELECT o.order_id, epoch_us(o.ordered_at) AS us, o.customer_id, a.card, a.device, a.network,
        CASE WHEN c.street <> '' THEN concat_ws('|', c.street, c.postal_code, c.city, c.country) END AS address,
        epoch_us(c.registered_at) AS registered_us, c.city, c.country, g.city AS ship_city, g.country AS ship_country,
        o.gross_amount, o.discount_amount, o.total_amount
    FROM ({fct_orders}) o LEFT JOIN attempts a USING (order_id)
    LEFT JOIN ({dim_customers}) c USING (customer_key) LEFT JOIN ({dim_geographies}) g USING (geography_key)
    WHERE o.order_date >= $as_of"""
LINES = """
    SELECT order_id, d.category, i.quantity, i.unit_price, i.gross_amount
    FROM ({fct_order_items}) i JOIN ({dim_products}) d USING (product_key)"""
DECLINES = """
    SELECT p.order_id, o.customer_id, p.card_fingerprint AS card, epoch_us(p.paid_at) AS us
    FROM ({fct_payments}) p JOIN ({fct_orders}) o USING (order_id) WHERE payment_status = 'declined'"""
CHARGEBACKS = """
    SELECT r.order_id, o.customer_id, any_value(p.card_fingerprint) AS card, any_value(p.device_id) AS device,
        min(epoch_us(r.refunded_at)) AS us
    FROM ({fct_refunds}) r JOIN ({fct_orders}) o USING (order_id) LEFT JOIN ({fct_payments}) p USING (order_id)
    WHERE r.reason = 'chargeback' GROUP BY ALL"""

# The events near the border are in the history, too, as they are in the log that the service reads at its start.
EVENTS = """
    SELECT event_id AS order_id, customer_id, epoch_us(received_at) AS us, event_type FROM ({fct_events})
    WHERE customer_id IS NOT NULL AND received_at >= CAST($as_of AS TIMESTAMPTZ) - INTERVAL 1 DAY"""


@pytest.fixture(scope="module")
def shop() -> tuple[duckdb.DuckDBPyConnection, Marts]:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    return con, simulated_marts(con, customers=600, end=END, has_events=True, late_rate=0.2)


def key(kind: str, name: str | None) -> int:
    return NO_KEY if name is None else key_of(kind, name)


def cents(amount: Decimal) -> int:
    return int(amount * 100)


def placed(row: dict[str, Any], lines: list[dict[str, Any]]) -> Placed:
    return Placed(
        order=key_of("order", row["order_id"]),
        us=row["us"],
        customer=key("customer", row["customer_id"]),
        **{kind: key(kind, row[kind]) for kind in ("card", "device", "network", "address")},
        registered_us=NEVER if row["registered_us"] is None else row["registered_us"],
        city=key("city", row["city"] or None),
        country=key("country", row["country"]),
        ship_city=key("city", row["ship_city"]),
        ship_country=key("country", row["ship_country"]),
        **{f"{name}_cents": cents(row[f"{name}_amount"]) for name in ("gross", "discount", "total")},
        lines=tuple(
            Line(
                key_of("category", line["category"] or ""),
                line["quantity"],
                line["unit_price"],
                cents(line["gross_amount"]),
            )
            for line in lines
        ),
    )


def replayed(
    con: duckdb.DuckDBPyConnection, marts: Marts, ledger: OrderLedger, as_of: date = AS_OF
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The features of each order from `as_of` on, at its turn."""
    lines = defaultdict(list)
    for line in con.execute(LINES.format(**marts)).to_arrow_table().to_pylist():
        lines[line["order_id"]].append(line)
    facts: list[tuple[int, int, str, dict[str, Any]]] = []
    visits: dict[int, dict[int, int]] = defaultdict(dict)
    for kind, query in ((ORDER, ORDERS), (DECLINED, DECLINES), (CHARGEBACK, CHARGEBACKS), (EVENT, EVENTS)):
        given = {"as_of": as_of} if "$as_of" in query else {}
        rows = con.execute(query.format(**marts), given).to_arrow_table().to_pylist()
        facts += [(row["us"], kind, row["order_id"], row) for row in rows]
    for us, kind, order_id, row in sorted(facts, key=lambda fact: fact[:3]):
        order, customer = key_of("order", order_id), key("customer", row["customer_id"])
        if kind == ORDER:
            made = placed(row, lines[order_id])
            yield order_id, ledger.features(made, visits[customer])
            ledger.place(made)
            assert ledger.features(made) == ledger.features(made)
        elif kind == EVENT:
            visits[customer] |= {} if row["event_type"] in NO_VISIT else {key_of("event", order_id): us}
        else:
            shown = [key(name, row.get(name)) for name in ("card", "device")]
            ledger.settle(Outcome("declined" if kind == DECLINED else "charged_back", order, customer, *shown, us))


def given(value: float | int | None) -> float | None:
    """A feature as a model is given it."""
    return None if value is None else float(np.float32(value))


def opened(con: duckdb.DuckDBPyConnection, marts: Marts, folder: Path, as_of: date = AS_OF) -> OrderHistory:
    path = folder / "order_history.arrow"
    write_history(path, *history_columns(con, marts, as_of))
    return OrderHistory.open(path)


def test_orders_have_the_same_features_at_the_checkout_as_in_training(shop, tmp_path):
    con, marts = shop
    training = order_risk.risk_table(con, marts, AS_OF, END)
    expected = {row["order_id"]: row for row in training.to_pylist()}
    served = dict(replayed(con, marts, OrderLedger(opened(con, marts, tmp_path))))
    assert served.keys() == expected.keys()
    assert len(served) > 500
    differing = {
        (order, name, value, expected[order][name])
        for order, values in served.items()
        for name, value in values.items()
        if given(value) != given(expected[order][name])
    }
    assert not differing, sorted(differing, key=str)[:20]
    for name in FEATURES:  # what is the same everywhere proves nothing
        assert len({expected[order][name] for order in expected}) > 1 or name == "is_by_card", name
