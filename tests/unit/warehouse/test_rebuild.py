"""A mart that is not what a build over all of history gives is found, with the rows that differ."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from cartograph.contracts import Column, Contract
from ecom_assets.warehouse.marts import Mart
from ecom_assets.warehouse.rebuild import Difference, difference

MART = Mart(
    "days",
    "marts.days",
    Contract(
        dataset="days",
        grain="A day.",
        key=("day",),
        columns=(
            Column(name="day", type="date", description="The day."),
            Column(name="amount", type="money", description="Its revenue."),
        ),
    ),
    "sales",
    (0, 0),
)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        for table in ("was", "anew"):
            opened.execute(f"CREATE TABLE {table} (day DATE, amount DECIMAL(18, 2))")
            opened.execute(f"INSERT INTO {table} VALUES ('2024-01-01', 10.00), ('2024-01-02', NULL)")
        yield opened


def found(connection: duckdb.DuckDBPyConnection) -> Difference | None:
    return difference(connection, MART, "was", "anew", samples=10)


def test_the_same_rows_in_another_order_are_no_difference(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE OR REPLACE TABLE anew AS FROM anew ORDER BY day DESC")
    assert found(connection) is None


def test_another_value_is_found(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("UPDATE anew SET amount = 10.01 WHERE day = '2024-01-01'")
    assert found(connection) == Difference("days", 1, 1, ("days 2024-01-01",))


def test_a_missing_and_a_doubled_row_are_found(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM was WHERE day = '2024-01-02'")
    assert found(connection) == Difference("days", 0, 1, ("days 2024-01-02",))
    connection.execute("INSERT INTO anew FROM anew")
    assert str(found(connection)) == "days: 0 rows that it should not have, 3 that it lacks"
