"""A version whose numbers leap from the one before it is told, and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest

from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality.versions import leaps

PRODUCTS = CONTRACTS["products"]


def version(product: str, day: int, price: str | None, cost: str | None = "4") -> tuple[object, ...]:
    updated = datetime(2024, 1, day, tzinfo=UTC)
    amounts = (None if each is None else Decimal(each) for each in (price, cost))
    return (product, updated, "A thing", "things", "Maker", *amounts, True)


def found(*rows: tuple[object, ...], first: int = 1, ratio: float = 7) -> tuple[list[str], int]:
    span = Window(datetime(2024, 1, first, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("products", PRODUCTS.arrow_table(rows))
        return leaps(connection, "SELECT * FROM products", PRODUCTS, span, ratio)


def test_a_price_a_hundred_times_as_large_is_told_with_what_it_was() -> None:
    told, of = found(version("p1", 1, "9.99"), version("p1", 5, "999"), version("p2", 1, "5"), version("p2", 5, "6"))
    assert told == ["p1 2024-01-05 00:00:00+00: list_price 9.9900 -> 999.0000"]
    assert of == 2, "a first version follows none"


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        ("1", "7", True),
        ("7", "1", True),
        ("1", "6.99", False),
        ("0", "100", False),
        ("100", "0", False),
        (None, "100", False),
        ("100", None, False),
    ],
)
def test_what_a_leap_is(before: str | None, now: str | None, is_told: bool) -> None:
    told, _ = found(version("p1", 1, before), version("p1", 5, now))
    assert bool(told) is is_told


def test_two_numbers_may_leap_at_once_and_only_versions_of_the_span_are_told_the_newest_first() -> None:
    rows = [version("p1", 1, "1", "1"), version("p1", 5, "100", "50"), version("p1", 9, "1", "50")]
    assert found(*rows)[0] == [
        "p1 2024-01-09 00:00:00+00: list_price 100.0000 -> 1.0000",
        "p1 2024-01-05 00:00:00+00: list_price 1.0000 -> 100.0000, unit_cost 1.0000 -> 50.0000",
    ]
    assert found(*rows, first=6) == (["p1 2024-01-09 00:00:00+00: list_price 100.0000 -> 1.0000"], 1)
    assert found(*rows, ratio=60)[0] == [each.split(", unit")[0] for each in found(*rows)[0]]
