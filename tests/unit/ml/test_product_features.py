"""Features of products and of customers with products: what they say of hand-made facts, and that nothing leaks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.features import interactions, products
from ml_assets.core.features.interactions import INTERACTIONS, interaction_table
from ml_assets.core.features.leakage import guard, leakage
from ml_assets.core.features.products import PRODUCT_FEATURES, product_table

AS_OF = date(2025, 6, 2)
NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)

SCHEMAS = {
    "dim_products": "product_id VARCHAR, version_number BIGINT, valid_from TIMESTAMPTZ, valid_to TIMESTAMPTZ, "
    "is_current BOOLEAN, category VARCHAR, list_price DECIMAL(18,4), unit_cost DECIMAL(18,4)",
    "fct_order_items": "product_id VARCHAR, order_id VARCHAR, customer_id VARCHAR, quantity BIGINT, "
    "gross_amount DECIMAL(18,2), discount_amount DECIMAL(18,2), net_amount DECIMAL(18,2), "
    "margin_amount DECIMAL(18,2), ordered_at TIMESTAMPTZ, is_cancelled BOOLEAN",
    "fct_refunds": "product_id VARCHAR, quantity BIGINT, refunded_at TIMESTAMPTZ",
    "fct_reviews": "product_id VARCHAR, rating BIGINT, reviewed_at TIMESTAMPTZ",
    "fct_events": "product_id VARCHAR, customer_id VARCHAR, event_type VARCHAR, received_at TIMESTAMPTZ",
    "fct_inventory_daily": "product_id VARCHAR, snapshot_date DATE, quantity_on_hand BIGINT",
}
MARTS = {name: f"SELECT * FROM {name}" for name in SCHEMAS}
PAIRS = {name: MARTS[name] for name in ("dim_products", "fct_order_items", "fct_events")}
TABLES = [(product_table, MARTS), (interaction_table, PAIRS)]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return make_connection()


def make_connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    for name, columns in SCHEMAS.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    return connection


def add_product(con: duckdb.DuckDBPyConnection, product: str, price: float, category: str = "tea", **more: Any) -> None:
    con.execute(
        "INSERT INTO dim_products VALUES (?, ?, ?, NULL, true, ?, ?, ?)",
        [
            product,
            more.get("version", 1),
            more.get("since", "1900-01-01"),
            category,
            price,
            more.get("cost", price / 2),
        ],
    )


def add_line(
    con: duckdb.DuckDBPyConnection, product: str, days_ago: float, quantity: int = 1, customer: str | None = "A"
) -> None:
    at = NOON - timedelta(days=days_ago)
    con.execute(
        "INSERT INTO fct_order_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, false)",
        [product, f"{customer} {at}", customer, quantity, 10 * quantity, quantity, 9 * quantity, 3 * quantity, at],
    )


def add_event(con: duckdb.DuckDBPyConnection, product: str, days_ago: float, kind: str, customer: str = "A") -> None:
    at = NOON - timedelta(days=days_ago)
    con.execute("INSERT INTO fct_events VALUES (?, ?, ?, ?)", [product, customer, kind, at])


def row_of(con: duckdb.DuckDBPyConnection, product: str = "P1", as_of: date = AS_OF) -> dict[str, Any]:
    (row,) = [row for row in product_table(con, MARTS, [as_of]).to_pylist() if row["product_id"] == product]
    return row


def pairs_of(con: duckdb.DuckDBPyConnection, as_of: date = AS_OF) -> dict[tuple[str, str], dict[str, Any]]:
    rows = interaction_table(con, PAIRS, [as_of]).to_pylist()
    return {(row["customer_id"], row["product_id"]): row for row in rows}


def test_velocity_margin_and_discount_are_of_the_days_before(con):
    add_product(con, "P1", 10)
    add_line(con, "P1", 0, 100)
    for days_ago, quantity in ((1, 2), (20, 1), (80, 3), (200, 5)):
        add_line(con, "P1", days_ago, quantity, customer=None if days_ago == 80 else "A")
    row = row_of(con)
    assert (row["units_7d"], row["units_30d"], row["units_90d"]) == (2, 3, 6)
    assert (row["orders_90d"], row["buyers_90d"]) == (3, 1), "a guest orders, and is nobody"
    assert (row["sale_recency_days"], row["on_sale_days"]) == (1, 200)
    assert row["velocity_trend"] == 3 * 3 / 6
    assert (row["discount_share_90d"], row["sold_margin_rate_90d"]) == (pytest.approx(0.1), pytest.approx(3 / 9))
    assert row["weekend_share_90d"] == 2 / 6, "the day before, a Sunday"


def test_price_level_is_held_against_the_category_as_it_was(con):
    for product, price in (("P1", 30), ("P2", 10), ("P3", 20)):
        add_product(con, product, price)
        add_line(con, product, 10)
    add_product(con, "P1", 99, version=2, since=NOON)
    add_product(con, "not sold yet", 500)
    row = row_of(con)
    assert (row["list_price"], row["price_level"], row["list_margin_rate"]) == (30, 1.5, 0.5)
    assert row_of(con, as_of=AS_OF + timedelta(days=1))["list_price"] == 99
    assert "not sold yet" not in product_table(con, MARTS, [AS_OF])["product_id"].to_pylist()


def test_a_season_is_told_by_the_month_that_began_a_year_ago(con):
    add_product(con, "P1", 10)
    add_line(con, "P1", 400)
    add_line(con, "P1", 350, 9)
    add_line(con, "P1", 100, 3)
    assert row_of(con)["season_index"] == pytest.approx(9 / 12 / (30 / 365))
    con.execute("DELETE FROM fct_order_items WHERE ordered_at < '2024-06-01'")
    assert row_of(con)["season_index"] is None, "the shop has not seen a year"


def test_stock_views_and_returns(con):
    add_product(con, "P1", 10)
    add_line(con, "P1", 5, 6)
    con.execute("INSERT INTO fct_refunds VALUES ('P1', 3, ?)", [NOON - timedelta(days=2)])
    con.executemany(
        "INSERT INTO fct_inventory_daily VALUES ('P1', ?, ?)",
        [(AS_OF - timedelta(days=2), 0), (AS_OF - timedelta(days=1), 12), (AS_OF, 77)],
    )
    for days_ago, kind in ((1, "product_view"), (2, "product_view"), (2, "add_to_cart"), (40, "product_view")):
        add_event(con, "P1", days_ago, kind)
    row = row_of(con)
    assert (row["stock_quantity"], row["stock_days"], row["empty_days_30d"]) == (12, 60, 1)
    assert (row["views_30d"], row["carts_30d"], row["cart_rate_30d"]) == (2, 1, 0.5)
    assert row["returned_share_90d"] == 0.5


def test_few_ratings_are_drawn_to_what_all_products_have(con):
    for product, ratings in {"P1": [(1, 100)], "P2": [(5, 10), (4, 90), (3, 91)], "P3": [], "P4": [(5, 0)]}.items():
        add_product(con, product, 10)
        add_line(con, product, 1)
        for rating, days_ago in ratings:
            con.execute("INSERT INTO fct_reviews VALUES (?, ?, ?)", [product, rating, NOON - timedelta(days=days_ago)])
    one, two, none, later = (row_of(con, product) for product in ("P1", "P2", "P3", "P4"))
    assert (one["reviews_count"], one["mean_rating"], one["rating_trend"]) == (1, 1, None)
    assert (two["reviews_count"], two["mean_rating"], two["rating_trend"]) == (3, 4, 1.5)
    assert (none["reviews_count"], none["mean_rating"]) == (0, None)
    assert later == none | {"product_id": "P4"}, "written on the as-of date"
    shop = (1 + 5 + 4 + 3) / 4
    for row, stars in ((one, 1), (two, 12), (none, 0)):
        assert row["shrunk_rating"] == pytest.approx((stars + 5 * shop) / (row["reviews_count"] + 5))


def test_a_pair_is_told_by_its_windows(con):
    add_product(con, "P1", 10)
    for days_ago, kind in ((0, "product_view"), (3, "product_view"), (3, "add_to_cart"), (50, "product_view")):
        add_event(con, "P1", days_ago, kind)
    add_line(con, "P1", 10, 4)
    add_line(con, "P1", 91)
    row = pairs_of(con)["A", "P1"]
    assert (row["views_7d"], row["views_30d"], row["views_90d"]) == (1, 1, 2)
    assert (row["carts_7d"], row["purchases_7d"], row["purchases_30d"], row["units_90d"]) == (1, 0, 1, 4)
    assert (row["recency_days"], row["view_recency_days"], row["purchase_recency_days"]) == (3, 3, 10)
    assert (row["spend_90d_amount"], row["active_days_90d"]) == (40, 3)


def test_affinity_is_within_the_customer_and_popularity_within_the_shop(con):
    for product, category in (("P1", "tea"), ("P2", "tea"), ("P3", "mugs")):
        add_product(con, product, 10, category)
    add_line(con, "P1", 5, 1)
    add_line(con, "P2", 5, 2)
    add_line(con, "P3", 5, 1)
    add_line(con, "P3", 6, 1, customer="B")
    add_event(con, "P3", 4, "product_view")
    pairs = pairs_of(con)
    assert pairs["A", "P1"]["category_spend_share"] == pairs["A", "P2"]["category_spend_share"] == 0.75
    assert pairs["A", "P3"]["category_view_share"] == 1.0
    assert (pairs["A", "P3"]["product_share"], pairs["B", "P3"]["product_share"]) == (0.5, 1.0)
    assert (pairs["A", "P3"]["product_buyers_90d"], pairs["A", "P3"]["popularity"]) == (2, 1.0)
    assert (pairs["A", "P1"]["product_buyers_90d"], pairs["A", "P1"]["popularity"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("module", "table", "features"),
    [(products, product_table, PRODUCT_FEATURES), (interactions, interaction_table, INTERACTIONS)],
)
def test_a_shop_without_optional_marts_has_no_columns_of_them(con, module, table, features):
    add_product(con, "P1", 10)
    add_line(con, "P1", 5)
    rows = table(con, {name: MARTS[name] for name in module.REQUIRED_MARTS}, [AS_OF])
    left_out = {feature.name for feature in features.features if feature.needs}
    assert len(rows) == 1
    assert left_out
    assert not left_out & set(rows.schema.names)


def test_there_are_as_many_features_of_a_pair_as_the_reference_system_has():
    assert len(INTERACTIONS.features) >= 19


moments = st.floats(-50, 450, allow_nan=False).map(lambda value: round(value, 2))


@settings(max_examples=15)
@given(
    lines=st.lists(st.tuples(st.sampled_from(["P1", "P2"]), moments, st.integers(1, 5)), max_size=12),
    events=st.lists(st.tuples(st.sampled_from(["product_view", "add_to_cart"]), moments), max_size=8),
)
def test_what_follows_never_changes_a_row_and_values_are_what_the_features_say(lines, events):
    con = make_connection()
    add_product(con, "P1", 10)
    add_product(con, "P2", 15)
    add_product(con, "P2", 25, version=2, since=NOON)
    for product, days_ago, quantity in lines:
        add_line(con, product, days_ago, quantity)
        con.execute("INSERT INTO fct_inventory_daily VALUES (?, ?, ?)", [product, (NOON - timedelta(days=days_ago)), 1])
        con.execute("INSERT INTO fct_reviews VALUES (?, ?, ?)", [product, quantity, NOON - timedelta(days=days_ago)])
    for kind, days_ago in events:
        add_event(con, "P1", days_ago, kind)
    for (table, marts), features in zip(TABLES, (PRODUCT_FEATURES, INTERACTIONS), strict=True):
        rows = table(con, marts, [AS_OF])
        assert leakage(con, marts, AS_OF, rows, table).differing == 0
        for feature in features.features:
            column = rows[feature.name]
            assert feature.null_means is not None or column.null_count == 0, feature.name
            values = [value for value in column.to_pylist() if value is not None]
            assert all(value >= feature.minimum for value in values), feature.name
            assert feature.maximum is None or all(value <= feature.maximum for value in values), feature.name


@pytest.mark.parametrize(("table", "marts"), TABLES)
def test_the_guard_finds_an_injected_leak(con, monkeypatch, table, marts):
    module = products if table is product_table else interactions
    add_product(con, "P1", 10)
    for days_ago in range(-200, 200, 5):
        add_line(con, "P1", days_ago)
    dates = [AS_OF - timedelta(days=30), AS_OF]
    assert [found.differing for found in guard_of(con, marts, table, dates)] == [0, 0]
    query = module._query
    monkeypatch.setattr(module, "_query", lambda *given: query(*given).replace("day < $as_of", "day <= $as_of + 9"))
    assert any(found.differing for found in guard_of(con, marts, table, dates))


def guard_of(con: duckdb.DuckDBPyConnection, marts: Any, table: Any, dates: list[date]) -> Any:
    con.register("stored", table(con, marts, dates))
    return guard(con, marts, "FROM stored", table)
