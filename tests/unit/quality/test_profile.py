"""The daily figures are those of the rows, whatever the rows are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cartograph.contracts import Column, Contract
from ecom_assets.quality.profile import profile

CONTRACT = Contract(
    dataset="visits",
    grain="A visit.",
    key=("visit_id",),
    event_time="visited_at",
    steady="kind <> 'robot'",
    columns=(
        Column(name="visit_id", type="string", description="Its number."),
        Column(name="visited_at", type="timestamp", description="When."),
        Column(name="kind", type="string", description="Who."),
        Column(name="device", type="string", nullable=True, description="With what."),
        Column(name="email", type="string", nullable=True, pii="email", description="Whose."),
        Column(name="coupon", type="string", nullable=True, volatile=True, description="With which coupon."),
        Column(name="state", type="string", volatile=True, rare=("it's off",), description="How far it came."),
        Column(name="amount", type="money", description="For how much."),
    ),
)
FIRST = date(2024, 3, 1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def visits(*, days: int = 4, per_day: int = 20) -> pa.Table:
    rows = [
        {
            "visit_id": f"{day}-{number}",
            "visited_at": datetime(2024, 3, 1, number % 24, tzinfo=UTC) + timedelta(days=day),
            "kind": "robot" if number == 0 else "guest",
            "device": None if number % 4 == 0 else "it's mobile" if number % 2 else "desktop",
            "email": f"{number}@example.org",
            "coupon": None,
            "state": "it's off" if number == 3 else "on",
            "amount": Decimal("10.00") if number % 5 else Decimal(0),
        }
        for day in range(days)
        for number in range(per_day)
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema())


def test_rows_empty_values_sizes_and_mixes_are_counted_by_day(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("visits", visits())
    found = profile(connection, "SELECT * FROM visits", CONTRACT, FIRST - timedelta(days=2), 6)
    assert found.rows.tolist() == [0, 0, 19, 19, 19, 19], "the robots are left out"
    assert found.nulls["device"].tolist() == [0, 0, 4, 4, 4, 4]
    assert found.sizes["amount"][2:, 0].tolist() == pytest.approx([np.log(10)] * 4)
    assert np.isnan(found.sizes["amount"][:2]).all()
    assert found.numbers["amount"][:2].tolist() == [0, 0]
    assert found.numbers["amount"][2:].tolist() == [16] * 4
    assert found.zeros("amount").tolist() == [0, 0, 3, 3, 3, 3]
    assert found.rare["state", "it's off"].tolist() == [0, 0, 1, 1, 1, 1]
    mix = found.mixes["device"]
    assert mix.counts.sum(axis=1).tolist() == found.rows.tolist()
    assert mix.counts[3].tolist() == [0, 10, 5, 4], "the rest, then the most frequent first"


def test_rows_that_are_there_under_two_keys_are_counted(connection: duckdb.DuckDBPyConnection) -> None:
    rows = visits()
    other = pc.binary_join_element_wise(rows["visit_id"], pa.scalar("again"), "-")
    again = rows.set_column(0, CONTRACT.arrow_schema().field("visit_id"), other)
    second = pc.equal(pc.day(rows["visited_at"]), 2)
    connection.register("visits", pa.concat_tables([rows, again.filter(second)]))
    found = profile(connection, "SELECT * FROM visits", CONTRACT, FIRST, 4)
    assert found.rows.tolist() == [19, 38, 19, 19]
    assert found.copies.tolist() == [0, 19, 0, 0]


def test_the_condition_of_a_bin_finds_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("visits", visits())
    mix = profile(connection, "SELECT * FROM visits", CONTRACT, FIRST, 4).mixes["device"]
    for condition, counts in zip(mix.conditions, mix.counts.T, strict=True):
        ((rows,),) = connection.execute(f"SELECT count(*) FROM visits WHERE kind <> 'robot' AND {condition}").fetchall()
        assert rows == counts.sum()


def test_personal_and_volatile_columns_and_keys_are_not_looked_at(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("visits", visits())
    found = profile(connection, "SELECT * FROM visits", CONTRACT, FIRST, 4)
    assert set(found.nulls) == {"device", "email"}, "how many are empty tells nothing personal"
    assert not {"email", "coupon", "visit_id"} & (set(found.mixes) | set(found.sizes))


def test_a_column_of_many_values_is_no_category(connection: duckdb.DuckDBPyConnection) -> None:
    rows = visits(per_day=200)
    rows = rows.set_column(3, CONTRACT.arrow_schema().field("device"), pa.array(map(str, range(len(rows)))))
    connection.register("visits", rows)
    assert "device" not in profile(connection, "SELECT * FROM visits", CONTRACT, FIRST, 4).mixes


def test_no_rows_have_a_profile_too(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("visits", visits(days=0))
    found = profile(connection, "SELECT * FROM visits", CONTRACT, FIRST, 3)
    assert found.rows.tolist() == [0, 0, 0]
    assert found.mixes == {}
