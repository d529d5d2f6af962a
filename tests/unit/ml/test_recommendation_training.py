"""The recommendation model of a shop's marts: what is read of them, the splits by time, and the tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.recommendation.training import purchases, recommendations, similar_products, train

AS_OF = date(2024, 7, 1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def line(customer: str | None, product: int, day: float, order: str, *, cancelled: bool = False):
    return {"customer_id": customer, "product_id": f"P{product:02}", "ordered_at": START + timedelta(days=day),
            "order_id": order, "line_number": 1, "is_cancelled": cancelled}  # fmt: skip


def catalogue(size: int) -> pa.Table:
    """Four shelves; the last product is not on sale, the one before it was never bought."""
    rows = [
        {"product_id": f"P{n:02}", "category": f"shelf {n % 4}", "is_current": True, "is_active": n != size - 1}
        for n in range(size)
    ]
    return pa.Table.from_pylist([*rows, {**rows[0], "category": "an earlier version", "is_current": False}])


def tastes(customers: int = 160, size: int = 40, seed: int = 3) -> list[dict]:
    """Baskets of three from the customer's shelf (four lines in five), or of anything, every ten days or so."""
    draw = np.random.default_rng(seed)
    found = []
    for customer in range(customers):
        day = draw.uniform(0, 10)
        while day < 182:
            for product in range(3):
                chosen = 4 * draw.integers(size // 4 - 1) + customer % 4
                chosen = chosen if draw.random() < 0.8 else draw.integers(size - 2)
                found.append(line(f"C{customer:03}", int(chosen), day, f"O{customer}-{day:.3f}-{product // 3}"))
            day += draw.exponential(10)
    return found


@pytest.fixture(scope="module")
def con():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture(scope="module")
def shop(con):
    con.register("order_items", pa.Table.from_pylist(tastes()))
    con.register("products", catalogue(40))
    data = purchases(con, "FROM order_items", "FROM products", AS_OF)
    return data, train(data, AS_OF)


def test_purchases_are_those_that_stand_before_the_as_of_date(con):
    rows = [
        line("B", 2, 5, "O3"),
        line("B", 1, 5, "O3"),
        line("B", 1, 5, "O3"),
        line("B", 1, 2, "O2"),
        line("A", 0, 1, "O1", cancelled=True),
        line("A", 3, 182 - 1e-6, "O4"),
        line("A", 2, 182, "O5"),
        line(None, 0, 1, "O6"),
    ]
    con.register("few", pa.Table.from_pylist(rows))
    con.register("catalogue", catalogue(5))
    data = purchases(con, "FROM few", "FROM catalogue", AS_OF)
    assert (data.customers, data.products) == (("A", "B"), ("P00", "P01", "P02", "P03", "P04"))
    assert (data.histories.starts.tolist(), data.histories.items.tolist()) == ([0, 1, 4], [3, 1, 1, 2])
    assert data.categories.tolist() == [0, 1, 2, 3, 0]
    assert data.offered.tolist() == [True, True, True, True, False]
    assert data.moments[1] == np.datetime64("2024-01-03")


def test_planted_tastes_are_found_on_the_days_that_were_not_known(shop):
    _, trained = shop
    chosen, popular = trained.scores["chosen"], trained.scores["popularity"]
    assert chosen["ndcg@10"].value >= 2 * popular["ndcg@10"].value
    assert chosen["recall@20"].low > popular["recall@20"].high
    assert chosen["ndcg@10"].value >= 0.98 * trained.scores["cosine_knn"]["ndcg@10"].value
    assert chosen["ndcg@10"].value >= 0.98 * trained.scores["als"]["ndcg@10"].value
    assert not trained.exclude_seen, "baskets repeat"
    assert trained.coverage > 0.5
    assert trained.customers_scored > 100


def test_everybody_has_twenty_products_that_are_on_sale(shop):
    data, trained = shop
    rows = recommendations(trained, data).to_pylist()
    assert len(rows) == 20 * len(data.customers)
    assert {row["place"] for row in rows} == set(range(1, 21))
    assert "P39" not in {row["product_id"] for row in rows}
    first = [row for row in rows if row["place"] <= 5]
    own = [int(row["product_id"][1:]) % 4 == int(row["customer_id"][1:]) % 4 for row in first]
    assert np.mean(own) > 0.9, "nearly all are from the customer's shelf"
    assert all(row["because_product_id"] for row in first if row["source"] == "history")


def test_similar_products_stand_on_the_same_shelf(shop):
    data, trained = shop
    rows = similar_products(trained, data, 3).to_pylist()
    bought = [row for row in rows if row["product_id"] < "P36"]
    same = [int(row["product_id"][1:]) % 4 == int(row["similar_product_id"][1:]) % 4 for row in bought]
    assert np.mean(same) > 0.9
    new = [row for row in rows if row["product_id"] == "P38"]
    assert [row["source"] for row in new] == ["category"] * 3
    assert all(int(row["similar_product_id"][1:]) % 4 == 2 for row in new)


def test_a_young_shop_is_refused_with_its_cure(con):
    con.register("young", pa.Table.from_pylist(tastes(customers=30)))
    data = purchases(con, "FROM young", "FROM products", AS_OF)
    with pytest.raises(
        NotEnoughData, match=r"50 customers who bought before 2024-06-01 .* Load more days or customers"
    ):
        train(data, AS_OF)
