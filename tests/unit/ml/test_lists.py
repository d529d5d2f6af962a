"""Lists for each of many customers: in order, and within little memory."""

import duckdb
import pytest

from ml_assets.defs.serving.lists import ordered_lists

LISTED = ordered_lists({"products": "product", "scores": "score"}, "rank", "score > 0")


@pytest.fixture
def con():
    with duckdb.connect() as con:
        con.execute("SET threads = 2")
        yield con


def test_lists_are_in_order_and_empty_where_a_group_has_no_row(con):
    con.execute(
        """
        CREATE TABLE ranked AS FROM (VALUES
            ('ada', 2, 'p1', 0.5), ('ada', 1, 'p2', 0.7), ('ada', 3, 'p0', -1),
            ('bea', 1, 'p9', -1), ('ada', 4, NULL, 0.1)
        ) AS given (customer, rank, product, score)"""
    )
    rows = con.execute(f"SELECT customer, {LISTED} FROM ranked GROUP BY customer ORDER BY customer").fetchall()
    assert [(who, products, [float(score) for score in scores]) for who, products, scores in rows] == [
        ("ada", ["p2", "p1", None], [0.7, 0.5, 0.1]),
        ("bea", [], []),
    ]


def test_lists_of_many_customers_take_the_memory_of_their_values(con):
    """Of 20,000 customers with 20 products each, which `list(… ORDER BY …)` needs 2 GB for."""
    con.execute("SET memory_limit = '150MB'")
    ranked = "SELECT i // 20 AS customer, i % 20 AS rank, 'product-' || i % 997 AS product, 1.0 AS score"
    (customers,) = con.execute(
        f"""
        SELECT count(*) FROM (SELECT customer, {LISTED} FROM ({ranked} FROM range(400_000) r(i)) GROUP BY customer)
        WHERE len(products) = 20 AND len(scores) = 20"""
    ).fetchone()
    assert customers == 20_000
