"""Customer features: what they say of a hand-made customer, and that nothing after the as-of date changes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.features import customers
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import column_values, feature_table
from ml_assets.core.features.leakage import guard, leakage
from ml_assets.core.features.reconciliation import Totals, reconcile

AS_OF = date(2024, 7, 1)
START = datetime(2024, 1, 1, tzinfo=UTC)

SCHEMAS = {
    "dim_customers": "customer_id VARCHAR, version_number BIGINT, valid_from TIMESTAMPTZ, valid_to TIMESTAMPTZ, "
    "is_current BOOLEAN, registered_at TIMESTAMPTZ, loyalty_tier VARCHAR, is_email_opt_in BOOLEAN",
    "dim_products": "product_key VARCHAR, category VARCHAR, valid_from TIMESTAMPTZ, valid_to TIMESTAMPTZ, "
    "is_current BOOLEAN",
    "fct_orders": "order_id VARCHAR, customer_id VARCHAR, ordered_at TIMESTAMPTZ, status VARCHAR, channel VARCHAR, "
    "device VARCHAR, coupon_code VARCHAR, line_count BIGINT, item_quantity BIGINT, gross_amount DECIMAL(18,2), "
    "discount_amount DECIMAL(18,2), total_amount DECIMAL(18,2), is_cancelled BOOLEAN",
    "fct_order_items": "customer_id VARCHAR, product_id VARCHAR, product_key VARCHAR, ordered_at TIMESTAMPTZ, "
    "gross_amount DECIMAL(18,2), is_cancelled BOOLEAN",
    "fct_refunds": "customer_id VARCHAR, refunded_at TIMESTAMPTZ, amount DECIMAL(18,2)",
    "fct_reviews": "customer_id VARCHAR, reviewed_at TIMESTAMPTZ, rating BIGINT",
    "fct_events": "customer_id VARCHAR, event_type VARCHAR, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ, "
    "session_key VARCHAR, device VARCHAR, channel VARCHAR",
}
MARTS = {name: f"SELECT * FROM {name}" for name in SCHEMAS}


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return make_connection()


def make_connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    for name, columns in SCHEMAS.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.execute(
        "INSERT INTO dim_products SELECT 'P' || n, 'category ' || n, '1900-01-01', NULL, true FROM range(1, 4) t(n)"
    )
    return connection


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def add_customer(con: duckdb.DuckDBPyConnection, customer: str = "A", registered: float = 0, **version: Any) -> None:
    row = {"number": 1, "valid_from": day(registered), "tier": None, "opt_in": None} | version
    con.execute(
        "INSERT INTO dim_customers VALUES (?, ?, ?, NULL, true, ?, ?, ?)",
        [customer, row["number"], row["valid_from"], day(registered), row["tier"], row["opt_in"]],
    )


def add_order(
    con: duckdb.DuckDBPyConnection, at: float, total: Any = 10, *, customer: str | None = "A", **more: Any
) -> None:
    con.execute(
        "INSERT INTO fct_orders VALUES (gen_random_uuid(), ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)",
        [
            customer,
            day(at),
            more.get("status", "completed"),
            more.get("channel"),
            more.get("device"),
            more.get("coupon"),
            more.get("units", 1),
            Decimal(total) + Decimal(more.get("discount", 0)),
            more.get("discount", 0),
            total,
            more.get("status") == "cancelled",
        ],
    )
    product = more.get("product", "P1")
    con.execute(
        "INSERT INTO fct_order_items VALUES (?, ?, ?, ?, ?, false)", [customer, product, product, day(at), total]
    )


def add_event(
    con: duckdb.DuckDBPyConnection, kind: str, at: float, received: float | None = None, **more: str | None
) -> None:
    con.execute(
        "INSERT INTO fct_events VALUES ('A', ?, ?, ?, ?, ?, ?)",
        [kind, day(at), day(received or at), more.get("session"), more.get("device"), more.get("channel")],
    )


def add_review(con: duckdb.DuckDBPyConnection, rating: int, at: float, customer: str | None = "A") -> None:
    con.execute("INSERT INTO fct_reviews VALUES (?, ?, ?)", [customer, day(at), rating])


def features_of(con: duckdb.DuckDBPyConnection, customer: str = "A", as_of: date = AS_OF) -> dict[str, Any]:
    rows = feature_table(con, MARTS, [as_of])
    (row,) = rows.filter(pc.equal(rows["customer_id"], customer)).to_pylist()
    return row


AS_OF_DAY = (AS_OF - START.date()).days  # 182


def test_orders_are_counted_by_window_and_summed_exactly(con):
    add_customer(con)
    add_order(con, AS_OF_DAY - 120, "10.10", units=3, discount=2)
    add_order(con, AS_OF_DAY - 40, "20.20", product="P2")
    add_order(con, AS_OF_DAY - 1, "30.30", product="P2")
    row = features_of(con)
    assert (row["orders_count"], row["orders_30d"], row["orders_90d"], row["orders_180d"]) == (3, 1, 2, 3)
    assert (row["recency_days"], row["tenure_days"], row["products_count"]) == (1, 120, 2)
    assert row["spend_amount"] == pytest.approx(60.60)
    assert row["spend_90d_amount"] == pytest.approx(50.50)
    assert row["mean_gap_days"] == pytest.approx(119 / 2)
    assert row["overdue_ratio"] == pytest.approx(1 / (119 / 2))
    assert row["mean_order_quantity"] == pytest.approx(5 / 3)
    assert row["discount_share"] == pytest.approx(2 / 62.60)


def test_the_worth_of_a_line_is_of_the_lines_that_were_loaded(con):
    """Of the second order one of two lines is in quarantine; the order keeps its own amount of 90."""
    add_customer(con)
    add_order(con, AS_OF_DAY - 120, 10)
    add_order(con, AS_OF_DAY - 40, 90)
    con.execute("UPDATE fct_order_items SET gross_amount = 30 WHERE gross_amount = 90")
    row = features_of(con)
    assert row["mean_line_amount"] == pytest.approx(20)
    assert row["mean_order_amount"] == pytest.approx(50)
    con.execute("DELETE FROM fct_order_items")
    con.execute("UPDATE fct_orders SET line_count = 0")
    assert features_of(con)["mean_line_amount"] is None


def test_a_customer_without_orders_has_nulls_where_the_catalogue_says_so(con):
    add_customer(con, registered=AS_OF_DAY - 5)
    row = features_of(con)
    assert row["registered_days"] == 5
    assert (row["orders_count"], row["spend_amount"]) == (0, 0)
    assert {name for name, value in row.items() if value is None} == {
        "loyalty_rank", "email_opt_in", "recency_days", "tenure_days", "mean_gap_days", "overdue_ratio",
        "mean_order_amount", "mean_order_quantity", "discount_share", "refunded_share", "visit_recency_days",
        "longest_gap_days", "gap_variation", "mean_order_lines", "mean_line_amount", "coupon_share",
        "mobile_order_share", "top_channel_share", "top_category_share", "category_diversity", "mobile_visit_share",
        "funnel_depth_90d", "channels_count", "categories_count", "mean_rating",
    }  # fmt: skip


def test_what_happens_on_the_as_of_date_is_not_known_yet(con):
    add_customer(con)
    add_customer(con, "B", registered=AS_OF_DAY)
    add_order(con, AS_OF_DAY - 1 / 86400)
    add_order(con, AS_OF_DAY)
    add_event(con, "product_view", AS_OF_DAY)
    rows = feature_table(con, MARTS, [AS_OF])
    assert rows["customer_id"].to_pylist() == ["A"]
    assert rows["orders_count"].to_pylist() == [1]
    assert rows["product_views_90d"].to_pylist() == [0]


def test_an_event_counts_from_when_it_was_received(con):
    add_customer(con)
    add_event(con, "product_view", AS_OF_DAY - 2, received=AS_OF_DAY + 1)
    assert features_of(con)["product_views_90d"] == 0
    assert features_of(con, as_of=AS_OF + timedelta(days=2))["product_views_90d"] == 1


def test_an_order_counts_though_it_is_cancelled_later(con):
    add_customer(con)
    add_order(con, AS_OF_DAY - 3, status="cancelled")
    assert features_of(con)["orders_count"] == 1


def test_the_version_that_held_on_the_as_of_date_is_used(con):
    add_customer(con, tier="bronze", opt_in=True)
    add_customer(con, number=2, valid_from=day(AS_OF_DAY + 3), tier="gold", opt_in=None)
    before, after = features_of(con), features_of(con, as_of=AS_OF + timedelta(days=10))
    assert (before["loyalty_rank"], before["email_opt_in"]) == (1, 1)
    assert (after["loyalty_rank"], after["email_opt_in"]) == (3, None)


def test_emails_are_no_visits(con):
    add_customer(con)
    add_event(con, "email_sent", AS_OF_DAY - 2)
    add_event(con, "email_open", AS_OF_DAY - 2)
    add_event(con, "page_view", AS_OF_DAY - 4)
    row = features_of(con)
    assert (row["emails_sent_180d"], row["email_opens_180d"]) == (1, 1)
    assert (row["visit_days_30d"], row["visit_recency_days"]) == (1, 4)


def test_reviews_count_from_when_they_are_written(con):
    add_customer(con)
    silent = features_of(con)
    for rating, at in ((5, 1), (2, AS_OF_DAY - 180), (1, AS_OF_DAY - 1), (4, AS_OF_DAY - 1)):
        add_review(con, rating, at)
    for rating, at, customer in ((1, AS_OF_DAY, "A"), (1, 5, "B"), (1, 5, None)):
        add_review(con, rating, at, customer)
    row = features_of(con)
    names = ("reviews_count", "reviews_180d", "mean_rating", "low_ratings_180d")
    assert [row[name] for name in names] == [4, 3, 3.0, 2]
    assert [silent[name] for name in names] == [0, 0, None, 0]


def test_gaps_are_between_days_with_an_order(con):
    add_customer(con)
    for at in (10, 10.5, 20, 40):
        add_order(con, at)
    row = features_of(con)
    assert (row["mean_gap_days"], row["longest_gap_days"]) == (15, 20)
    assert row["gap_variation"] == pytest.approx(50**0.5 / 15), "of 10 and 20: the standard deviation over the mean"


def test_even_gaps_do_not_vary_and_two_days_have_one_gap_only(con):
    add_customer(con)
    for at in (10, 20):
        add_order(con, at)
    assert features_of(con)["gap_variation"] is None
    add_order(con, 30)
    assert features_of(con)["gap_variation"] == 0


def test_the_mix_of_channels_devices_and_coupons_is_of_the_orders_that_name_them(con):
    add_customer(con)
    add_order(con, 10, channel="email", device="mobile", coupon="SAVE10")
    add_order(con, 20, channel="email", device="desktop")
    add_order(con, 30, channel="direct", device="mobile")
    add_order(con, 40)
    row = features_of(con)
    assert (row["channels_count"], row["top_channel_share"]) == (2, pytest.approx(2 / 3))
    assert (row["mobile_order_share"], row["coupon_share"]) == (pytest.approx(2 / 3), 1 / 4)


def test_categories_are_weighed_by_their_worth(con):
    add_customer(con)
    add_order(con, 10, 30, product="P1")
    add_order(con, 20, 10, product="P2")
    add_order(con, 30, 99, product="of no known category")
    row = features_of(con)
    assert (row["categories_count"], row["top_category_share"]) == (2, 3 / 4)
    assert row["category_diversity"] == pytest.approx(1 / (9 / 16 + 1 / 16))


def test_one_category_is_one_to_the_last_digit(con):
    """The square of a sum over the sum of squares is not, as doubles; the API refused such a customer's features."""
    assert 1.13**2 / float(Decimal("1.13") ** 2) < 1
    add_customer(con)
    add_order(con, 10, total="1.13", product="P1")
    assert features_of(con)["category_diversity"] == 1


def test_a_visit_is_as_deep_as_the_shop_knew_on_the_as_of_date(con):
    add_customer(con)
    add_event(con, "product_view", AS_OF_DAY - 40, session="old", device="desktop", channel="email")
    add_event(con, "product_view", AS_OF_DAY - 2, session="new", device="mobile")
    add_event(con, "add_to_cart", AS_OF_DAY - 2, session="new", device="mobile")
    add_event(con, "purchase", AS_OF_DAY - 1.9, AS_OF_DAY + 1, session="new", device="mobile")
    row = features_of(con)
    assert (row["sessions_30d"], row["sessions_90d"], row["visit_days_90d"]) == (1, 2, 2)
    assert (row["funnel_depth_90d"], row["abandoned_carts_90d"]) == (1.5, 1)
    assert (row["mobile_visit_share"], row["email_visit_days_180d"]) == (0.5, 1)
    later = features_of(con, as_of=AS_OF + timedelta(days=2))
    assert (later["funnel_depth_90d"], later["abandoned_carts_90d"]) == (2.5, 0)


def test_a_visit_that_began_before_the_days_that_count_is_none_of_them(con):
    add_customer(con)
    add_event(con, "product_view", AS_OF_DAY - 90.1, session="across")
    add_event(con, "add_to_cart", AS_OF_DAY - 89.9, session="across")
    assert features_of(con)["sessions_90d"] == 0
    rows = feature_table(con, MARTS, [date(2024, 2, 1), AS_OF])
    assert rows["sessions_90d"].to_pylist() == [0, 0], "the same where earlier dates are computed with it"


def test_guests_have_no_row(con):
    add_order(con, 5, customer=None)
    con.execute("INSERT INTO dim_customers VALUES ('(guest)', 1, '1900-01-01', NULL, true, NULL, NULL, false)")
    assert len(feature_table(con, MARTS, [AS_OF])) == 0


@pytest.mark.parametrize("missing", [(), ("fct_events",), ("fct_refunds", "fct_reviews", "fct_events")])
def test_a_shop_without_an_optional_mart_has_no_columns_of_it(con, missing):
    add_customer(con)
    marts = {name: mart for name, mart in MARTS.items() if name not in missing}
    expected = CUSTOMER_FEATURES.of(marts).features
    rows = feature_table(con, marts, [AS_OF])
    assert rows.schema.names == [*CUSTOMER_FEATURES.key, *(feature.name for feature in expected)]
    assert not {feature.needs for feature in expected} & set(missing)


def test_no_value_is_outside_of_what_the_catalogue_says_or_null_against_it(con):
    for number in range(30):
        add_customer(
            con, f"C{number}", registered=number * 5, tier="gold" if number % 2 else None, opt_in=number % 3 == 0
        )
        for order in range(number % 5):
            add_order(con, number * 5 + order * 3, customer=f"C{number}", units=order + 1, discount=order)
    rows = feature_table(con, MARTS, [AS_OF])
    for feature in CUSTOMER_FEATURES.features:
        column = rows[feature.name]
        assert feature.null_means is not None or column.null_count == 0, feature.name
        values = [value for value in column.to_pylist() if value is not None]
        assert all(value >= feature.minimum for value in values), feature.name
        assert feature.maximum is None or all(value <= feature.maximum for value in values), feature.name


def test_many_dates_at_once_are_the_same_as_one_at_a_time(con):
    add_customer(con)
    for number in range(0, 150, 7):
        add_order(con, number, total=number + 1)
    dates = [date(2024, 1, 2) + timedelta(days=4 * number) for number in range(customers.DATES_AT_A_TIME + 5)]
    one_at_a_time = pa.concat_tables(feature_table(con, MARTS, [one]) for one in dates)
    assert feature_table(con, MARTS, dates).equals(one_at_a_time)


moments = st.floats(0, 300, allow_nan=False).map(lambda value: round(value, 3))


@settings(max_examples=20)
@given(
    orders=st.lists(st.tuples(st.sampled_from("AB"), moments, st.integers(0, 90)), max_size=12),
    events=st.lists(
        st.tuples(st.sampled_from(["page_view", "add_to_cart", "purchase", "email_open"]), moments, moments), max_size=6
    ),
    as_of=st.integers(1, 300),
)
def test_what_follows_never_changes_a_row(orders, events, as_of):
    con = make_connection()
    add_customer(con)
    add_customer(con, "B", registered=20, tier="silver")
    for customer, at, total in orders:
        add_order(con, at, total, customer=customer)
        add_review(con, 1 + total % 5, at + 3, customer)
    for kind, at, delay in events:
        add_event(con, kind, at, at + delay / 10, session="S", device="mobile")
    cutoff = (START + timedelta(days=as_of)).date()
    rows = feature_table(con, MARTS, [cutoff])
    assert leakage(con, MARTS, cutoff, rows).differing == 0
    known = [(customer, total) for customer, at, total in orders if at < as_of]
    for row in rows.to_pylist():
        mine = [total for customer, total in known if customer == row["customer_id"]]
        assert (row["orders_count"], row["spend_amount"]) == (len(mine), sum(mine))


@pytest.mark.parametrize(
    ("sound", "leaking"),
    [
        ("o.day < a.as_of GROUP", "o.day <= a.as_of GROUP"),
        ("sum(o.orders) AS orders,", "sum(o.orders) + (SELECT count(*) FROM order_days) AS orders,"),
    ],
)
def test_the_guard_finds_an_injected_leak(con, monkeypatch, sound, leaking):
    add_customer(con)
    for number in range(300):
        add_order(con, number)
    dates = [AS_OF - timedelta(days=30), AS_OF, AS_OF + timedelta(days=30)]
    con.register("stored", feature_table(con, MARTS, dates))
    assert [found.differing for found in guard(con, MARTS, "FROM stored")] == [0, 0]
    assert sound in customers._ORDERS
    monkeypatch.setattr(customers, "_ORDERS", customers._ORDERS.replace(sound, leaking))
    con.register("stored", feature_table(con, MARTS, dates))
    found = guard(con, MARTS, "FROM stored")
    assert any(one.differing for one in found)
    assert "A" in next(one.describe("here") for one in found if one.differing)


def test_the_guard_finds_rows_that_were_stored_wrongly(con):
    add_customer(con)
    add_order(con, 10)
    rows = feature_table(con, MARTS, [AS_OF])
    wrong = rows.set_column(
        rows.schema.get_field_index("orders_count"), rows.schema.field("orders_count"), pa.array([7])
    )
    con.register("stored", wrong)
    assert [found.differing for found in guard(con, MARTS, "FROM stored")] == [1]


def test_nulls_become_nan_in_a_matrix(con):
    add_customer(con)
    matrix = column_values(feature_table(con, MARTS, [AS_OF]), ["orders_count", "recency_days"])
    assert matrix.dtype.name == "float32"
    assert matrix[0, 0] == 0
    assert matrix[0, 1] != matrix[0, 1]


LOSSES = {
    "a customer is lost": ("DELETE FROM stored WHERE customer_id = 'B'", Totals(1, 2, Decimal("30.10"))),
    "a customer is there twice": (
        "INSERT INTO stored FROM stored WHERE customer_id = 'B'",
        Totals(3, 4, Decimal("70.10")),
    ),
    "an order is lost": ("UPDATE stored SET orders_count = orders_count - 1 WHERE customer_id = 'B'", None),
    "a cent is lost": ("UPDATE stored SET spend_amount = spend_amount - 0.01 WHERE customer_id = 'B'", None),
    "an order of nobody counts": ("UPDATE stored SET customer_id = '(guest)' WHERE customer_id = 'B'", None),
}


@pytest.mark.parametrize("damage", LOSSES)
def test_features_are_held_against_the_orders_that_they_are_of(con: duckdb.DuckDBPyConnection, damage: str) -> None:
    """Orders of guests, of who registers later, and from the as-of date on are no features; cancelled ones are."""
    for customer, registered in (("A", 0), ("B", 1), ("later", 200)):
        add_customer(con, customer, registered)
    add_order(con, 3, "10.05")
    add_order(con, 4, "20.05", status="cancelled")
    add_order(con, 5, 20, customer="B")
    for customer in (None, "later"):
        add_order(con, 6, 1000, customer=customer)
    add_order(con, 182, 1000)
    con.register("rows_of_two_dates", feature_table(con, MARTS, [date(2024, 5, 1), AS_OF]))
    con.execute("CREATE TABLE stored AS FROM rows_of_two_dates")

    sound = reconcile(con, MARTS, "FROM stored", 10)
    assert sound == (AS_OF, Totals(2, 3, Decimal("50.10")), Totals(2, 3, Decimal("50.10")), [])

    statement, totals = LOSSES[damage]
    con.execute(statement)
    found = reconcile(con, MARTS, "FROM stored WHERE as_of_date = DATE '2024-07-01'", 10)
    assert found is not None
    assert not found.holds
    assert "B" in found.samples
    assert totals in (None, found.found)
    assert found.expected == sound.expected


def test_features_of_no_date_are_not_held_against_anything(con: duckdb.DuckDBPyConnection) -> None:
    con.register("nothing", feature_table(con, MARTS, []))
    assert reconcile(con, MARTS, "FROM nothing", 10) is None
