"""Order-risk features: what they say of hand-made orders, and that nothing after an order changes its row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.features import order_risk
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_leakage import guard, leakage
from ml_assets.core.features.order_risk import risk_table
from ml_assets.core.features.page import PAGE, page
from ml_assets.core.features.reconciliation import reconcile_orders

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMAS = {
    "dim_customers": "customer_key VARCHAR, customer_id VARCHAR, registered_at TIMESTAMPTZ, valid_from TIMESTAMPTZ, "
    "street VARCHAR, postal_code VARCHAR, city VARCHAR, country VARCHAR",
    "dim_products": "product_key VARCHAR, category VARCHAR, valid_from TIMESTAMPTZ",
    "dim_geographies": "geography_key VARCHAR, city VARCHAR, country VARCHAR",
    "fct_orders": "order_id VARCHAR, ordered_at TIMESTAMPTZ, order_date DATE, customer_id VARCHAR, "
    "customer_key VARCHAR, geography_key VARCHAR, status VARCHAR, line_count BIGINT, item_quantity BIGINT, "
    "gross_amount DECIMAL(18,2), discount_amount DECIMAL(18,2), total_amount DECIMAL(18,2), is_cancelled BOOLEAN",
    "fct_order_items": "order_id VARCHAR, product_key VARCHAR, ordered_at TIMESTAMPTZ, quantity BIGINT, "
    "unit_price DECIMAL(18,4), gross_amount DECIMAL(18,2), is_cancelled BOOLEAN",
    "fct_payments": "payment_id VARCHAR, order_id VARCHAR, paid_at TIMESTAMPTZ, payment_status VARCHAR, "
    "is_captured BOOLEAN, card_fingerprint VARCHAR, device_id VARCHAR, ip_address VARCHAR",
    "fct_refunds": "order_id VARCHAR, refunded_at TIMESTAMPTZ, reason VARCHAR",
    "fct_events": "customer_id VARCHAR, event_id VARCHAR, event_type VARCHAR, occurred_at TIMESTAMPTZ, "
    "received_at TIMESTAMPTZ",
}
MARTS = {name: f"SELECT * FROM {name}" for name in SCHEMAS}
PLACES = {"Graz": "AT", "Linz": "AT"}


def make_connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    for name, columns in SCHEMAS.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    for city, country in PLACES.items():
        connection.execute("INSERT INTO dim_geographies VALUES (?, ?, ?)", [city, city, country])
    for category in ("tea", "toys"):
        connection.execute("INSERT INTO dim_products VALUES (?, ?, ?)", [category, category, START])
    connection.execute(
        "INSERT INTO dim_customers VALUES ('guest', '(guest)', NULL, '1900-01-01', NULL, NULL, NULL, NULL)"
    )
    return connection


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return make_connection()


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def add_customer(con: duckdb.DuckDBPyConnection, customer: str, street: str | None = None, at: float = 0) -> None:
    address = [street or f"{customer} street", "8010", "Graz", "AT"]
    con.execute("INSERT INTO dim_customers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [customer] * 2 + [day(at)] * 2 + address)


def add_order(
    con: duckdb.DuckDBPyConnection, order: str, at: float, customer: str | None = "A", total: Any = 10, **more: Any
) -> None:
    """An order of one line, paid at once from a device; further attempts and a chargeback where they are given."""
    moment, units = day(at), more.get("units", 1)
    discount = Decimal(more.get("discount", 0))
    gross = Decimal(total) + discount
    con.execute(
        "INSERT INTO fct_orders VALUES (?, ?, ?, ?, ?, ?, 'placed', 1, ?, ?, ?, ?, false)",
        [order, moment, moment.date(), customer, customer or "guest", more.get("city", "Graz"), units, gross, discount,
         Decimal(total)],
    )  # fmt: skip
    price = gross / units
    con.execute(
        "INSERT INTO fct_order_items VALUES (?, ?, ?, ?, ?, ?, false)",
        [order, more.get("category", "tea"), moment, units, price, gross],
    )
    statuses = more.get("attempts", ("captured",))
    for number, status in enumerate(statuses):
        con.execute(
            "INSERT INTO fct_payments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [f"{order}.{number}", order, moment + timedelta(minutes=2 * number + 1), status, status == "captured",
             more.get("card"), more.get("device", f"device of {customer or order}"), more.get("network")],
        )  # fmt: skip
    if "charged_back" in more:
        con.execute("INSERT INTO fct_refunds VALUES (?, ?, 'chargeback')", [order, day(more["charged_back"])])


def add_event(
    con: duckdb.DuckDBPyConnection, event: str, at: float, customer: str | None = "A", kind: str = "product_view",
    late: float = 0,
) -> None:  # fmt: skip
    """An event that is received so many days after it happened."""
    con.execute("INSERT INTO fct_events VALUES (?, ?, ?, ?, ?)", [customer, event, kind, day(at), day(at + late)])


def risk_of(con: duckdb.DuckDBPyConnection, order: str) -> dict[str, Any]:
    rows = {row["order_id"]: row for row in risk_table(con, MARTS, START.date(), date(2025, 1, 1)).to_pylist()}
    return rows[order]


def test_velocity_counts_what_was_ordered_before(con):
    add_customer(con, "A")
    for order, at in {"1": 1.0, "2": 9.5, "3": 9.99, "4": 10, "5": 10, "6": 10.01}.items():
        add_order(con, order, at)
    row = risk_of(con, "4")
    assert (row["orders_1h"], row["orders_24h"], row["orders_7d"], row["orders_before"]) == (1, 2, 2, 3)
    assert row["hours_since_order"] == pytest.approx(0.24)
    assert (row["tenure_days"], row["registered_hours"]) == (pytest.approx(9), pytest.approx(240))
    assert risk_of(con, "5")["orders_before"] == 3, "orders of the same moment do not know of each other"
    assert risk_of(con, "1")["is_first_order"] == 1


def test_a_visit_is_what_the_shop_heard_of_the_customer_in_the_hour_before(con):
    for customer in "AB":
        add_customer(con, customer)
    hour = 1 / 24
    add_event(con, "too early", 10 - 1.01 * hour)
    add_event(con, "an hour before", 10 - hour)
    add_event(con, "another's", 10 - 0.5 * hour, "B")
    add_event(con, "nobody's", 10 - 0.5 * hour, None)
    for number, kind in enumerate(["page_view", "add_to_cart", "checkout", *order_risk.NO_VISIT]):
        add_event(con, kind, 10 - 0.1 * hour, kind=kind, late=number / 10**6)
    add_event(con, "heard late", 10 - 3 * hour, late=2.5 * hour)
    add_event(con, "heard too late", 10 - 0.1 * hour, late=0.2 * hour)
    add_event(con, "of the same moment", 10)
    for order, customer in {"1": "A", "2": "B", "3": None}.items():
        add_order(con, order, 10, customer)
    add_order(con, "4", 20)
    visits = {order: (risk_of(con, order)["events_1h"], risk_of(con, order)["visit_minutes"]) for order in "1234"}
    assert visits == {"1": (5, 60), "2": (1, pytest.approx(30)), "3": (None, None), "4": (0, None)}


def test_a_shop_without_events_has_no_features_of_visits(con):
    add_customer(con, "A")
    add_order(con, "1", 1)
    marts = {name: select for name, select in MARTS.items() if name != "fct_events"}
    without = risk_table(con, marts, START.date(), date(2025, 1, 1))
    whole = risk_table(con, MARTS, START.date(), date(2025, 1, 1))
    assert set(whole.schema.names) - set(without.schema.names) == {"events_1h", "visit_minutes"}
    assert whole.select(without.schema.names).equals(without)
    assert leakage(con, marts, day(2), without, START.date()).differing == 0


def test_who_else_used_a_card_device_network_or_address_counts_from_then_on(con):
    for customer, street in {"A": "Long Lane", "B": "Long Lane", "C": None}.items():
        add_customer(con, customer, street)
    add_order(con, "1", 1, "A", card="X", device="D", network="N")
    add_order(con, "2", 2, "A", card="X", device="D", network="N")
    add_order(con, "3", 2.5, "B", card="X", network="N")
    add_order(con, "4", 2.6, "C", card="X", device="D")
    assert [risk_of(con, order)["card_others"] for order in "1234"] == [0, 0, 1, 2]
    assert [risk_of(con, order)["device_others"] for order in "1234"] == [0, 0, 0, 1]
    assert [risk_of(con, order)["network_others"] for order in "1234"] == [0, 0, 1, None]
    assert [risk_of(con, order)["address_others"] for order in "1234"] == [0, 0, 1, 0]
    assert [risk_of(con, order)["card_orders_24h"] for order in "1234"] == [0, 1, 1, 2]
    assert [risk_of(con, order)["is_new_card"] for order in "1234"] == [1, 0, 1, 1]


def test_a_city_alone_is_no_address_that_others_share(con):
    for customer in "AB":
        add_customer(con, customer)
    con.execute("UPDATE dim_customers SET street = NULL")
    add_order(con, "1", 1, "A")
    add_order(con, "2", 2, "B", city="Linz")
    row = risk_of(con, "2")
    assert (row["address_others"], row["linked_customers"], row["is_sent_elsewhere"]) == (None, 1, 1)


@pytest.mark.parametrize(
    ("on_file", "shipped", "expected"),
    [
        (("Graz", "AT"), ("Graz", "AT"), 0),
        (("Graz", "AT"), ("Linz", "AT"), 1),
        ((None, "AT"), ("Graz", "AT"), None),
        (("", "AT"), ("Graz", "AT"), None),
        (("Graz", "AT"), (None, "AT"), None),
        ((None, "AT"), (None, "AT"), None),
        ((None, "AT"), (None, "DE"), 1),
        (("Graz", "AT"), ("Graz", None), None),
        (("Graz", ""), ("Graz", "AT"), None),
    ],
)
def test_a_city_or_country_that_is_not_known_tells_nothing_of_where_an_order_is_sent(con, on_file, shipped, expected):
    add_customer(con, "A")
    con.execute("UPDATE dim_customers SET city = ?, country = ?", on_file)
    con.execute("INSERT INTO dim_geographies VALUES ('there', ?, ?)", shipped)
    add_order(con, "1", 1, city="there")
    assert risk_of(con, "1")["is_sent_elsewhere"] == expected


def test_links_reach_over_many_steps_and_are_known_only_once_they_are_there(con):
    for customer in "ABCD":
        add_customer(con, customer)
    add_order(con, "1", 1, "A", card="X", device="D1")
    add_order(con, "2", 2, "B", card="Y", device="D2")
    add_order(con, "3", 3, "C", card="X", device="D2", charged_back=20)
    add_order(con, "4", 4, "A", card="Z", device="D3")
    add_order(con, "5", 21, "B", card="Y", device="D2")
    add_order(con, "6", 22, "D")
    add_order(con, "7", 23, None, card="X", device="D9")
    linked = {order: risk_of(con, order)["linked_customers"] for order in "1234567"}
    assert linked == {"1": 1, "2": 1, "3": 3, "4": 3, "5": 3, "6": 1, "7": 3}
    assert {order: risk_of(con, order)["linked_chargebacks"] for order in "34567"} == {
        "3": 0, "4": 0, "5": 1, "6": 0, "7": 1
    }  # fmt: skip


def test_ones_own_chargebacks_and_declined_payments_of_earlier_orders_are_known(con):
    add_customer(con, "A")
    add_customer(con, "B")
    add_order(con, "1", 1, card="X", charged_back=5)
    add_order(con, "2", 7, card="X", attempts=("declined", "declined", "captured"))
    add_order(con, "3", 8, card="Y")
    add_order(con, "4", 8, "B", card="X")
    add_order(con, "5", 20, card="Y")
    assert [risk_of(con, order)["linked_chargebacks"] for order in "1235"] == [0, 1, 1, 1]
    assert [risk_of(con, order)["declined_7d"] for order in "12345"] == [0, 0, 2, 0, 0]
    assert [risk_of(con, order)["card_declined_7d"] for order in "12345"] == [0, 0, 0, 2, 0]


def test_a_basket_is_held_against_the_customers_and_the_shops_own(con):
    add_customer(con, "A")
    add_customer(con, "B")
    add_order(con, "1", 1, total=10)
    add_order(con, "2", 2, total=30, category="toys", units=3, discount=10)
    add_order(con, "3", 2, "B", total=80)
    add_order(con, "4", 3, total=60, city="Linz", category="tea")
    row = risk_of(con, "4")
    assert row["amount_to_own_mean"] == pytest.approx(60 / 20)
    assert row["amount_to_shop_mean"] == pytest.approx(60 / 40)
    assert (row["is_sent_elsewhere"], risk_of(con, "1")["is_sent_elsewhere"]) == (1, 0)
    assert (row["new_category_share"], risk_of(con, "2")["new_category_share"]) == (0, 1)
    row = risk_of(con, "2")
    assert (row["discount_share"], row["largest_line_units"], row["dearest_unit_price"]) == (
        0.25, 3, pytest.approx(13.3333)
    )  # fmt: skip


def test_a_guest_has_no_history_though_the_device_has(con):
    add_customer(con, "A")
    add_order(con, "1", 1, device="D")
    add_order(con, "2", 1.5, None, device="D")
    add_order(con, "3", 1.6, None, device="D")
    row = risk_of(con, "3")
    assert (row["is_guest"], row["is_first_order"], row["orders_before"], row["customer_id"]) == (1, 1, 0, None)
    assert (row["device_others"], row["device_orders_24h"], row["linked_customers"]) == (1, 2, 1)
    nulls = {name for name, value in row.items() if value is None}
    assert nulls == {
        "customer_id", "registered_hours", "tenure_days", "hours_since_order", "card_others", "card_orders_24h",
        "network_others", "network_orders_24h", "address_others", "address_orders_24h", "is_new_card",
        "card_declined_7d", "is_sent_elsewhere", "amount_to_own_mean", "amount_to_shop_mean", "new_category_share",
        "events_1h", "visit_minutes",
    }  # fmt: skip


def test_an_order_without_payment_or_lines_has_a_row(con):
    add_customer(con, "A")
    add_order(con, "1", 1, attempts=())
    con.execute("DELETE FROM fct_order_items")
    row = risk_of(con, "1")
    assert (row["is_by_card"], row["device_others"], row["categories_count"]) == (0, None, 0)


def fill(con: duckdb.DuckDBPyConnection, orders: int = 120) -> None:
    """Orders of eight customers who share some cards and devices, some charged back, over sixty days."""
    for number in range(8):
        add_customer(con, f"C{number}", "Shared Street" if number < 2 else None)
    for number in range(orders):
        more: dict[str, Any] = {"card": f"X{number % 5}", "device": f"D{number % 7}", "total": 5 + number % 40}
        if number % 6 == 0:
            more["charged_back"] = number / 2 + 14
        if number % 4 == 0:
            more["attempts"] = ("declined", "captured")
        add_order(con, f"O{number:03d}", number / 2, f"C{number % 8}" if number % 9 else None, **more)


def test_no_value_is_outside_of_what_the_catalogue_says_or_null_against_it(con):
    fill(con)
    rows = risk_table(con, MARTS, START.date(), date(2025, 1, 1))
    assert rows.schema.names == list(ORDER_RISK.contract().names)
    for feature in ORDER_RISK.features:
        column = rows[feature.name]
        assert feature.null_means is not None or column.null_count == 0, feature.name
        values = [value for value in column.to_pylist() if value is not None]
        assert all(value >= feature.minimum for value in values), feature.name
        assert feature.maximum is None or all(value <= feature.maximum for value in values), feature.name


def test_a_part_of_the_days_is_the_same_as_it_is_in_the_whole(con):
    fill(con)
    first, until = date(2024, 1, 20), date(2024, 2, 3)
    whole = risk_table(con, MARTS, START.date(), date(2025, 1, 1)).to_pylist()
    part = risk_table(con, MARTS, first, until).to_pylist()
    assert part == [row for row in whole if first <= row["order_date"] < until]
    assert len(part) == 28


moments = st.floats(0, 90, allow_nan=False).map(lambda value: round(value, 2))


def around(at: float, minutes_before: int, minutes_late: int) -> tuple[datetime, datetime]:
    """When an event near a day happened, and when it was received."""
    happened = day(at) - timedelta(minutes=minutes_before)
    return happened, happened + timedelta(minutes=minutes_late)


@settings(max_examples=25)
@given(
    orders=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", None]),
            moments,
            st.sampled_from(["X", "Y", None]),
            st.sampled_from(["D", "E"]),
            moments,
        ),
        min_size=1,
        max_size=12,
    ),
    events=st.lists(
        st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 11), st.integers(-30, 70), st.integers(0, 40)),
        max_size=12,
    ),
    chosen=st.integers(0, 11),
)
def test_what_follows_never_changes_a_row_and_counts_are_those_of_a_plain_loop(orders, events, chosen):
    con = make_connection()
    for customer in "ABC":
        add_customer(con, customer)
    for number, (customer, at, card, device, delay) in enumerate(orders):
        add_order(con, f"O{number:02d}", at, customer, card=card, device=device, charged_back=at + delay,
                  attempts=("declined", "captured"))  # fmt: skip
    heard = [(who, *around(orders[near % len(orders)][1], before, late)) for who, near, before, late in events]
    for number, (customer, happened, received) in enumerate(heard):
        con.execute("INSERT INTO fct_events VALUES (?, ?, 'page_view', ?, ?)",
                    [customer, f"E{number}", happened, received])  # fmt: skip
    moment = day(orders[chosen % len(orders)][1])
    rows = risk_table(con, MARTS, START.date(), date(2025, 1, 1))
    con.register("every_row", rows)
    used = con.execute("SELECT * FROM every_row WHERE ordered_at <= $moment", {"moment": moment}).to_arrow_table()
    assert leakage(con, MARTS, moment, used, START.date()).differing == 0
    for row in rows.to_pylist():
        customer, at, card, device, _ = orders[int(row["order_id"][1:])]
        before = [other for other in orders if other[1] < at]
        assert row["device_others"] == len({o[0] for o in before if o[3] == device} - {customer, None})
        assert row["card_others"] == (len({o[0] for o in before if o[2] == card} - {customer, None}) if card else None)
        assert row["orders_before"] == (sum(o[0] == customer for o in before) if customer else 0)
        visit = [received for who, _, received in heard if who == customer]
        within = [received for received in visit if day(at) - timedelta(hours=1) <= received < day(at)]
        assert row["events_1h"] == (len(within) if customer else None)
        assert row["visit_minutes"] == ((day(at) - min(within)) / timedelta(minutes=1) if within else None)


_PAST = "RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
_ALWAYS = "RANGE BETWEEN UNBOUNDED PRECEDING AND 9999999999999 FOLLOWING"
LEAKS = {
    "orders of later": ("customary", f"count(*) OVER (customer {_PAST})", "count(*) OVER (PARTITION BY actor)"),
    "chargebacks of later": ("trusted", f"ORDER BY us {_PAST}", f"ORDER BY us {_ALWAYS}"),
    "outcomes of the own payment": ("declined", "epoch_us(q.paid_at)", "epoch_us(q.paid_at) - 300000000"),
    "events that come late": ("visited", "epoch_us(received_at)", "epoch_us(occurred_at)"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_the_guard_finds_an_injected_leak(con, monkeypatch, leak):
    fill(con)
    for number in range(60):
        add_customer(con, f"alone {number}")
        attempts = ("declined", "captured")
        add_order(con, f"alone {number}", number, f"alone {number}", charged_back=number + 9, attempts=attempts)
        add_order(con, f"again {number}", number + 0.7, f"alone {number}")
        add_event(con, f"late {number}", number + 0.69, f"alone {number}", late=0.03)
    stored = risk_table(con, MARTS, START.date(), date(2025, 1, 1))
    con.register("stored", stored)
    assert [found.differing for found in guard(con, MARTS, "FROM stored", "monthly")] == [0, 0]
    step, sound, leaking = LEAKS[leak]
    assert sound in order_risk._STEPS[step]
    monkeypatch.setitem(order_risk._STEPS, step, order_risk._STEPS[step].replace(sound, leaking))
    con.register("stored", risk_table(con, MARTS, START.date(), date(2025, 1, 1)))
    found = guard(con, MARTS, "FROM stored", "monthly")
    assert any(one.differing for one in found)
    assert "look for later data in here" in next(one.describe("here") for one in found if one.differing)


def test_the_guard_finds_rows_that_were_stored_wrongly_and_nothing_where_there_is_nothing(con):
    fill(con)
    con.register("rows", risk_table(con, MARTS, START.date(), date(2025, 1, 1)))
    con.execute("CREATE TABLE stored AS SELECT * REPLACE (orders_before + 1 AS orders_before) FROM rows")
    found = guard(con, MARTS, "FROM stored", "monthly")
    assert [one.differing > 0 for one in found] == [False, True]
    assert guard(con, MARTS, "FROM stored WHERE false", "monthly") == []


DAMAGES = {
    "an order is lost": "DELETE FROM stored WHERE order_id = 'O118'",
    "an order is there twice": "INSERT INTO stored FROM stored WHERE order_id = 'O118'",
    "a cent is lost": "UPDATE stored SET total_amount = total_amount - 0.01 WHERE order_id = 'O118'",
    "an order is another's": "UPDATE stored SET customer_id = 'C5' WHERE order_id = 'O118'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_table_is_held_against_the_orders_that_it_is_of(con, damage):
    fill(con)
    con.register("rows", risk_table(con, MARTS, START.date(), date(2025, 1, 1)))
    con.execute("CREATE TABLE stored AS FROM rows")
    first = date(2024, 2, 1)
    sound = reconcile_orders(con, MARTS, "FROM stored", first, 10)
    assert sound.holds
    assert (sound.expected, sound.found.orders) == (sound.found, 58)
    con.execute(DAMAGES[damage])
    assert reconcile_orders(con, MARTS, "FROM stored", first, 10).samples == ["O118"]


def test_the_page_is_up_to_date_and_tells_every_feature():
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), f"docs/{PAGE.name} is stale: run `make docs`"
    assert all(f"| `{feature.name}` |" in written for feature in ORDER_RISK.features)
