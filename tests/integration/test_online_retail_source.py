"""The real shop: each of its 541,909 lines is loaded, merged or quarantined, and the money adds up to the penny."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import duckdb
import pytest

from cartograph.settings import environment, load_settings
from cartograph.shops import load_shop
from cartograph.windows import Window, windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import Counts, validate
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.files_config import files_config

VARIABLE = "CARTOGRAPH_ONLINE_RETAIL_FILES"

pytestmark = pytest.mark.skipif(
    VARIABLE not in environment(), reason=f"{VARIABLE} is not set: the glob of the UCI Online Retail files"
)


@pytest.fixture(scope="module")
def source() -> FilesSource:
    settings = load_settings()
    shop = load_shop(settings, "online_retail")
    return FilesSource(files_config(shop.sources[0].attributes, shop.sources[0].datasets), shop.span, settings)


@pytest.fixture(scope="module")
def span() -> Window:
    return load_shop(load_settings(), "online_retail").span


@pytest.fixture(scope="module")
def loaded(source: FilesSource, span: Window) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, Counts]]]:
    """A database with each dataset's accepted rows, and as `q_<dataset>` its quarantine; and the counts."""
    known, counts = {}, {}
    with duckdb.connect() as connection:
        for dataset, contract in CONTRACTS.items():
            if dataset in source.datasets:
                (delivery,) = source.deliveries(dataset, list(windows(span.start, span.end, "monthly")))
                assert delivery.unreadable == ()
                checked = validate(delivery.rows, contract, window=delivery.window, shop_window=span, known_keys=known)
                known[dataset], counts[dataset] = checked.accepted, checked.counts
                connection.register(dataset, checked.accepted)
                connection.register(f"q_{dataset}", checked.quarantined)
        yield connection, counts


def value(connection: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


def test_every_line_is_accounted_for(loaded: tuple[duckdb.DuckDBPyConnection, dict[str, Counts]]) -> None:
    _, counts = loaded
    assert counts["order_items"].delivered + counts["refunds"].delivered == 541_909
    assert counts["order_items"].merged + counts["refunds"].merged == 541_909 - 536_641, "lines equal in all columns"
    assert counts["order_items"].quarantined == {
        "quantity_positive": 1_336,
        "price_not_negative": 2,
        "orphan:order_id": 1,
    }
    for dataset in ("customers", "products", "orders", "refunds"):
        assert counts[dataset].quarantined == {}, dataset
    for count in counts.values():
        assert count.delivered == count.accepted + count.merged + sum(count.quarantined.values())


def test_the_money_adds_up(loaded: tuple[duckdb.DuckDBPyConnection, dict[str, Counts]]) -> None:
    connection, _ = loaded
    left_out = """
        SELECT sum(CAST(row->>'quantity' AS BIGINT) * CAST(row->>'unit_price' AS DECIMAL(18, 4))) FROM q_{}
    """
    total = value(
        connection,
        f"""
        SELECT (SELECT sum(quantity * unit_price) FROM order_items) - (SELECT sum(quantity * unit_price) FROM refunds)
            + ({left_out.format("order_items")}) - ({left_out.format("refunds")})
        """,
    )
    assert total == Decimal("9747747.934")


def test_all_invoices_and_customers_are_found_again(
    loaded: tuple[duckdb.DuckDBPyConnection, dict[str, Counts]],
) -> None:
    connection, _ = loaded
    invoices = """
        SELECT count(*) FROM (
            SELECT order_id FROM orders
            UNION SELECT credit_note_id FROM refunds
            UNION SELECT row->>'order_id' FROM q_order_items
        )
    """
    assert value(connection, invoices) == 25_900
    assert value(connection, "SELECT count(DISTINCT customer_id) FROM customers") == 4_372
    bought = "SELECT customer_id FROM orders UNION SELECT customer_id FROM refunds"
    assert value(connection, f"SELECT count(customer_id) FROM ({bought})") == 4_372


def test_orders_are_the_sums_of_their_lines(loaded: tuple[duckdb.DuckDBPyConnection, dict[str, Counts]]) -> None:
    connection, _ = loaded
    differing = """
        SELECT count(*) FROM orders
        FULL JOIN (
            SELECT order_id, ordered_at, sum(round(quantity * unit_price, 2)) AS amount FROM order_items GROUP BY ALL
        ) AS lines USING (order_id, ordered_at)
        WHERE total_amount IS DISTINCT FROM amount
    """
    assert value(connection, differing) == 0


@pytest.mark.parametrize(
    ("child", "parent", "key", "event_time"),
    [
        ("orders", "customers", "customer_id", "ordered_at"),
        ("refunds", "customers", "customer_id", "refunded_at"),
        ("order_items", "products", "product_id", "ordered_at"),
        ("refunds", "products", "product_id", "refunded_at"),
    ],
)
def test_a_version_is_known_when_it_is_needed(
    loaded: tuple[duckdb.DuckDBPyConnection, dict[str, Counts]], child: str, parent: str, key: str, event_time: str
) -> None:
    connection, _ = loaded
    too_early = f"""
        SELECT count(*) FROM {child} JOIN (SELECT {key}, min(updated_at) AS known_at FROM {parent} GROUP BY {key})
        USING ({key}) WHERE {event_time} < known_at
    """
    assert value(connection, too_early) == 0


def test_a_single_month_is_the_same_as_in_the_whole(source: FilesSource, span: Window) -> None:
    months = list(windows(span.start, span.end, "monthly"))
    for dataset in sorted(source.datasets):
        (whole,) = source.deliveries(dataset, months)
        singly = [next(source.deliveries(dataset, [month])).rows.num_rows for month in months]
        assert sum(singly) == whole.rows.num_rows
        assert all(singly)
