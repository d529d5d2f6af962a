"""An order's features at the checkout are those that training computes by SQL, whatever was ordered before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cartograph.releases.order_history import NO_KEY, key_of, write_history
from ml_assets.core.features.order_history import OrderHistory, history_columns
from ml_assets.core.features.order_ledger import Line, OrderLedger, Placed, Value
from ml_assets.core.features.order_risk import MINUTE, risk_table
from tests.model.test_checkout_skew import given as as_given
from tests.model.test_checkout_skew import replayed
from tests.unit.ml.test_order_risk import MARTS, START, add_customer, add_event, add_order, around, day, make_connection

OF_PRODUCTS = {**MARTS, "dim_products": "SELECT *, product_key AS product_id FROM dim_products"}
UNTIL = (START + timedelta(days=60)).date()
VISIT = ("events_1h", "visit_minutes")


@settings(max_examples=25, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    orders=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", None]),
            st.integers(0, 40 * 24 * 4).map(lambda quarter: quarter / 96),
            st.sampled_from(["X", "Y", None]),
            st.sampled_from(["D", "E"]),
            st.sampled_from(["N", None]),
            st.sampled_from(["tea", "toys"]),
            st.floats(0.1, 30),
        ),
        min_size=2,
        max_size=16,
    ),
    events=st.lists(
        st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 15), st.integers(-30, 90), st.integers(0, 40)),
        max_size=16,
    ),
    cut=st.integers(0, 41),
)
def test_the_ledger_tells_what_training_does(orders, events, cut):
    con = make_connection()
    for customer, street in {"A": "Long Lane", "B": "Long Lane", "C": None}.items():
        add_customer(con, customer, street)
    con.execute("UPDATE dim_customers SET city = CASE customer_id WHEN 'B' THEN NULL WHEN 'C' THEN '' ELSE city END")
    con.execute("INSERT INTO dim_geographies VALUES ('nowhere', NULL, 'AT')")
    places = ("Linz", "Graz", "nowhere", "Graz")
    for number, (customer, at, card, device, network, category, delay) in enumerate(orders):
        add_order(con, f"O{number:02d}", at, customer, card=card, device=device, network=network, category=category,
                  total=10 + number, units=1 + number % 3, discount=number % 2, charged_back=at + delay,
                  city=places[number % 4], attempts=("declined", "captured"))  # fmt: skip
    for number, (customer, near, before, late) in enumerate(events):
        moments = around(orders[near % len(orders)][1], before, late)
        con.execute("INSERT INTO fct_events VALUES (?, ?, 'page_view', ?, ?)", [customer, f"E{number}", *moments])
    as_of = day(cut).date()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "order_history.arrow"
        write_history(path, *history_columns(con, OF_PRODUCTS, as_of))
        served = dict(replayed(con, OF_PRODUCTS, OrderLedger(OrderHistory.open(path)), as_of))
    expected = {row["order_id"]: row for row in risk_table(con, MARTS, as_of, UNTIL).to_pylist()}
    assert served.keys() == expected.keys()
    for order, values in served.items():
        told = {name: as_given(value) for name, value in values.items()}
        assert told == {name: as_given(expected[order][name]) for name in told}, order


def test_a_history_holds_the_visits_of_its_last_hour_and_a_shop_without_events_has_none():
    con = make_connection()
    add_customer(con, "A")
    for event, minutes in {"too early": 61, "first": 60, "last": 1, "too late": 0}.items():
        add_event(con, event, 2 - minutes / (24 * 60))
    add_order(con, "1", 1)
    moment, columns = history_columns(con, OF_PRODUCTS, day(2).date())
    assert sorted(columns["visit_us"].tolist()) == [moment - 60 * MINUTE, moment - MINUTE]
    ledger, guest = OrderLedger(OrderHistory(moment, columns)), placed("3", 2)._replace(customer=NO_KEY)
    assert told(ledger.features(placed("2", 2)), *VISIT) == (2, 60)
    news = {"last": -1, "heard since": 0, "at last": 1, "too late": 2}  # of which the history has the first
    since = {key_of("event", name): moment + minutes * MINUTE for name, minutes in news.items()}
    assert told(ledger.features(placed("2", 2 + 2 / (24 * 60)), since), *VISIT) == (3, 3)
    assert told(ledger.features(guest, since), *VISIT) == (None, None)
    without = {name: select for name, select in OF_PRODUCTS.items() if name != "fct_events"}
    ledger = OrderLedger(OrderHistory(*history_columns(con, without, day(2).date())))
    assert told(ledger.features(placed("2", 2), since), *VISIT) == (None, None)


def test_the_history_knows_no_city_where_none_is_on_file():
    con = make_connection()
    for customer, city in {"A": "Graz", "B": None, "C": ""}.items():
        add_customer(con, customer)
        con.execute("UPDATE dim_customers SET city = ? WHERE customer_id = ?", [city, customer])
    history = OrderHistory(*history_columns(con, OF_PRODUCTS, day(2).date()))
    on_file = {customer: history.customer(key_of("customer", customer)).city for customer in "ABC"}
    assert on_file == {"A": key_of("city", "Graz"), "B": NO_KEY, "C": NO_KEY}


def test_a_question_changes_nothing():
    """Without being placed, an order leaves no trace; placed twice, it counts once."""
    con = make_connection()
    add_customer(con, "A")
    add_order(con, "1", 1, card="X")
    moment, columns = history_columns(con, OF_PRODUCTS, day(2).date())
    assert all(np.all(np.diff(columns[name].astype(np.float64)) >= 0) for name in ("customer_key", "pair_key"))
    add_order(con, "2", 3, card="X")
    ledger = OrderLedger(OrderHistory(moment, columns))
    first = dict(replayed(con, OF_PRODUCTS, ledger, day(2).date()))
    again = dict(replayed(con, OF_PRODUCTS, ledger, day(2).date()))
    assert first == again
    assert first["2"]["orders_before"] == 1


def placed(order: str, at: float, euros: int = 10, card: str = "X") -> Placed:
    """An order of A, some days after the start."""
    us, cents = round(day(at).timestamp() * 1_000_000), euros * 100
    keys = [key_of(kind, name) for kind, name in (("order", order), ("customer", "A"), ("card", card), ("device", "D"))]
    line = Line(key_of("category", "tea"), 1, Decimal(euros), cents)
    return Placed(keys[0], us, *keys[1:], NO_KEY, None, None, None, None, NO_KEY, NO_KEY, cents, 0, cents, (line,))


def ledger_of(*orders: tuple[str, float, int]) -> OrderLedger:
    """The ledger at the second day, which was told of each order as the checkout was, before it became history."""
    con = make_connection()
    add_customer(con, "A")
    for order, at, euros in orders:
        add_order(con, order, at, total=euros, card="X", device="D")
    ledger = OrderLedger(OrderHistory(*history_columns(con, OF_PRODUCTS, day(2).date())))
    for order, at, euros in orders:
        ledger.place(placed(order, at, euros))
    return ledger


def told(values: Mapping[str, Value], *names: str) -> tuple[Value, ...]:
    return tuple(values[name] for name in names)


def test_an_order_of_the_history_that_is_tried_again_counts_once():
    ledger = ledger_of(("1", 1.05, 10), ("2", 1.9, 30))
    again = placed("2", 2.1, 30, "Y")
    assert ledger.attempt(again) == 2
    values = ledger.features(again)
    assert told(values, "orders_before", "is_first_order", "orders_24h", "orders_7d") == (1, 0, 1, 2)
    assert told(values, "hours_since_order", "amount_to_own_mean") == (pytest.approx(1.05 * 24), 3)
    ledger.place(again)
    after = ledger.features(placed("3", 2.2, 40))
    assert told(after, "orders_before", "orders_24h", "amount_to_own_mean") == (2, 2, 2)
    assert after["amount_to_shop_mean"] == 2, "nor is it another order of the shop"


def test_a_first_order_is_the_first_at_its_next_attempt_too():
    names = ("is_first_order", "orders_before", "tenure_days", "hours_since_order", "new_category_share")
    assert told(ledger_of(("1", 1.9, 30)).features(placed("1", 2.1, 30, "Y")), *names) == (1, 0, None, None, None)


def test_an_order_of_the_history_that_is_told_again_as_it_was_is_no_attempt_and_does_not_count_against_itself():
    ledger = ledger_of(("1", 1.05, 10), ("2", 1.9, 30))
    again = placed("2", 2.1, 30)
    assert ledger.counts(again)
    assert ledger.attempt(again) == 1
    counted = ("orders_24h", "orders_before", "card_orders_24h", "device_orders_24h")
    assert told(ledger.features(again), *counted) == (0, 1, 0, 0)
    assert told(ledger.features(placed("3", 2.2)), *counted) == (1, 2, 1, 1)
