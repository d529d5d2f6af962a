"""Customer and product marts, held against the planted truth: what customers prefer, and what is bought together."""

from __future__ import annotations

import pytest

from cartograph.lake import Lake
from tests.support.whole_run import Bench

CATEGORIES = 10
"""Categories of the simulated shop: a guess is right once in as many."""


@pytest.fixture(scope="module")
def lake(small_shop: tuple[Bench, str]) -> Lake:
    return Lake.from_settings(small_shop[0].settings)


def query(lake: Lake, sql: str, **tables: str) -> tuple[float, ...]:
    """The only row of `sql`, in which each `{name}` stands for a lake table."""
    selects = {name: f"({lake.relation_sql(table)})" for name, table in tables.items()}
    with lake.connect() as connection:
        (row,) = connection.execute(sql.format(**selects)).fetchall()
    return row  # type: ignore[no-any-return]


def test_the_category_that_customers_spend_most_on_is_the_one_they_want_most(lake: Lake) -> None:
    customers, hits = query(
        lake,
        """
        SELECT count(*), count(*) FILTER (WHERE affinity.category = truth.favourite_category)
        FROM {affinity} AS affinity
        JOIN {metrics} AS metrics USING (customer_id)
        JOIN {truth} AS truth USING (customer_id)
        WHERE affinity.affinity_rank = 1 AND metrics.orders_count >= 5
        """,
        affinity="published.category_affinity",
        metrics="published.agg_customer_metrics",
        truth="truth.customers",
    )
    assert customers > 50
    assert hits / customers > 5 / CATEGORIES, f"{hits} of {customers}"


def test_rules_of_the_highest_lift_are_products_that_were_made_partners(lake: Lake) -> None:
    products, rules, hits = query(
        lake,
        """
        SELECT
            (SELECT count(*) FROM {truth}),
            count(*),
            count(*) FILTER (
                WHERE one.partner_product_id = other.product_id OR other.partner_product_id = one.product_id
            )
        FROM (
            SELECT * FROM {rules} ORDER BY lift DESC, antecedent_product_id, consequent_product_id LIMIT 60
        ) AS rules
        JOIN {truth} AS one ON rules.antecedent_product_id = one.product_id
        JOIN {truth} AS other ON rules.consequent_product_id = other.product_id
        """,
        rules="published.market_basket_rules",
        truth="truth.products",
    )
    by_chance = 2 / (products - 1)
    assert rules == 60
    assert hits / rules > 10 * by_chance, f"{hits} of {rules}"
