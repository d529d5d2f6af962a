"""The comparison finds what differs, and says where."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from cartograph.contracts import Column, Contract
from ecom_assets.warehouse.marts import Mart
from tests.portability.comparing import difference

ROW = """
    'o1' AS id, 1 AS line, 0.1::DOUBLE AS share, 2.50::DECIMAL(18, 2) AS amount,
    TIMESTAMPTZ '2024-01-01 00:00:00.000001+00' AS seen_at
"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for side in ("one", "other"):
            connection.execute(f"ATTACH ':memory:' AS {side}; CREATE SCHEMA {side}.marts")
            connection.execute(f"CREATE TABLE {side}.marts.shares AS SELECT {ROW}")
        yield connection


def compare(connection: duckdb.DuckDBPyConnection) -> str | None:
    columns = tuple(Column(name=name, type="string", description=name) for name in ("id", "line"))
    contract = Contract(dataset="shares", grain="A line.", columns=columns, key=("id", "line"))
    return difference(connection, Mart("shares", "marts.shares", contract, "sales"), "one", "other")


def test_equal_rows_in_any_order_are_equal(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"INSERT INTO one.marts.shares SELECT 'o2' AS id, * EXCLUDE (id) FROM (SELECT {ROW})")
    connection.execute("CREATE OR REPLACE TABLE other.marts.shares AS FROM one.marts.shares ORDER BY id DESC")
    assert compare(connection) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE other.marts.shares SET share = 0.1 + 1e-17 * 2", "id=o1, line=1: one / other: share 0.1 / 0.1000"),
        ("UPDATE other.marts.shares SET amount = NULL", "one / other: amount Decimal('2.50') / None"),
        ("UPDATE other.marts.shares SET seen_at = seen_at + INTERVAL 1 MICROSECOND", "one / other: seen_at datetime"),
        ("DELETE FROM other.marts.shares", "1 rows in one, 0 rows in other\n  id=o1, line=1: only in one"),
        ("INSERT INTO other.marts.shares FROM other.marts.shares", "1 rows in one, 2 rows in other"),
        ("ALTER TABLE other.marts.shares ALTER amount TYPE DECIMAL(18, 4)", "columns differ"),
        ("ALTER TABLE other.marts.shares DROP seen_at", "columns differ"),
    ],
)
def test_each_difference_is_named(connection: duckdb.DuckDBPyConnection, change: str, told: str) -> None:
    connection.execute(change)
    found = compare(connection)
    assert found is not None
    assert found.startswith("shares: ")
    assert told in found
