"""Rows keep their contracts, except where trouble is planted, and that is planted at its rate."""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa
import pytest

from cartograph.contracts import DUCKDB_TYPES, Contract
from cartograph.windows import windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.simulator import TRUTH_CONTRACTS, SimulatedShop
from shops import make_shop, read, whole

VERSIONED = {"customers", "products", "orders"}


def typed(contract: Contract, relation: str) -> str:
    columns = ", ".join(f"try_cast({c.name} as {DUCKDB_TYPES[c.type]}) as {c.name}" for c in contract.columns)
    return f"(select {columns} from {relation})"


def broken_rows(db: duckdb.DuckDBPyConnection, contract: Contract, relation: str) -> int:
    """Rows that break a type, a null, an accepted value or a rule of their contract."""
    faults = [
        f"(raw.{c.name} is not null and typed.{c.name} is null)"
        + ("" if c.nullable else f" or typed.{c.name} is null")
        + (f" or not (typed.{c.name} in {c.accepted})" if c.accepted else "")
        for c in contract.columns
    ]
    rules = " and ".join(f"({rule.sql}) is not false" for rule in contract.rules) or "true"
    count = db.execute(
        f"select count(*) from {relation} raw "
        f"positional join (select *, {rules} as keeps from {typed(contract, relation)}) typed "
        f"where ({' or '.join(faults)}) is true or not keeps"
    ).fetchone()
    assert count is not None
    return int(count[0])


@pytest.mark.parametrize("dataset", sorted(CONTRACTS))
def test_rows_keep_their_contract(db: duckdb.DuckDBPyConnection, dataset: str) -> None:
    contract = CONTRACTS[dataset]
    names = [row[0] for row in db.execute(f"describe {dataset}").fetchall()]
    assert [name for name in names if name != "_source"] == list(contract.names)
    assert broken_rows(db, contract, dataset) == 0
    rows, keys = (
        db.execute(f"select count(*), count(distinct ({', '.join(contract.key)})) from {dataset}").fetchone() or ()
    )
    assert rows == keys > 0


@pytest.mark.parametrize("dataset", sorted(CONTRACTS))
def test_every_reference_is_met(db: duckdb.DuckDBPyConnection, dataset: str) -> None:
    for reference in CONTRACTS[dataset].references:
        orphans = db.execute(
            f"select count(*) from {dataset} where {reference.column} is not null and {reference.column} not in "
            f"(select {reference.to_column} from {reference.dataset})"
        ).fetchone()
        assert orphans == (0,)


@pytest.fixture(scope="module")
def troubled_shop() -> SimulatedShop:
    return make_shop(customers=500, end=date(2024, 10, 1), invalid_rate=0.02, duplicate_rate=0.03)


@pytest.mark.parametrize("dataset", sorted(set(CONTRACTS) - {"campaigns"}))
def test_trouble_is_planted_at_its_rate(troubled_shop: SimulatedShop, dataset: str) -> None:
    delivered = read(troubled_shop, dataset)
    connection = duckdb.connect(config={"threads": 1})
    connection.register("delivered", delivered)
    connection.execute("create table rows as select distinct * from delivered")
    distinct = (connection.execute("select count(*) from rows").fetchone() or (0,))[0]
    broken = broken_rows(connection, CONTRACTS[dataset], "rows")
    share = 0.6 if dataset == "customers" else 1.0  # a customer's first version is never broken
    assert 0.02 * share - 0.02 < broken / distinct < 0.02 + 4 * (0.02 / distinct) ** 0.5
    assert abs((len(delivered) - distinct) / distinct - 0.03) < 4 * (0.03 / distinct) ** 0.5
    if distinct > 2000:
        assert broken > 0


def test_broken_rows_orphan_few_others(troubled_shop: SimulatedShop) -> None:
    """Each customer and product keeps a whole first version, however many rows are broken."""
    connection = duckdb.connect(config={"threads": 1})
    for dataset in ("customers", "products"):
        key = CONTRACTS[dataset].key[0]
        connection.register("delivered", read(troubled_shop, dataset))
        connection.execute(
            f"create or replace table firsts as from delivered "
            f"qualify updated_at = min(updated_at) over (partition by {key})"
        )
        assert broken_rows(connection, CONTRACTS[dataset], "firsts") == 0


def test_orders_and_their_lines_break_apart(troubled_shop: SimulatedShop) -> None:
    clean = make_shop(customers=500, end=date(2024, 10, 1), invalid_rate=0, duplicate_rate=0)

    def broken(dataset: str) -> set[str]:
        key = CONTRACTS[dataset].key
        good, bad = read(clean, dataset), read(troubled_shop, dataset)
        pairs = {tuple(row[k] for k in key): {n: str(v) for n, v in row.items()} for row in good.to_pylist()}
        changed = [r for r in bad.to_pylist() if pairs[tuple(r[k] for k in key)] != {n: str(v) for n, v in r.items()}]
        return {row["order_id"] for row in changed}

    orders, lines = broken("orders"), broken("order_items")
    assert len(orders & lines) < 0.2 * len(orders)


def test_a_column_appears_on_the_drift_day() -> None:
    shop = make_shop(schema_drift_after=0.5)
    asked = list(windows(whole(shop).start, whole(shop).end, "monthly"))
    has = ["wallet" in delivery.rows.column_names for delivery in shop.deliveries("payments", asked)]
    assert has == [False, False, False, True, True, True]


@pytest.mark.parametrize("name", sorted(TRUTH_CONTRACTS))
def test_the_truth_keeps_its_contracts(clean_shop: SimulatedShop, name: str) -> None:
    contract, table = TRUTH_CONTRACTS[name], clean_shop.truth()[name]
    assert table.schema.equals(contract.arrow_schema())
    assert contract.event_time is None
    assert table.group_by(list(contract.key)).aggregate([]).num_rows == table.num_rows > 0
    for column in contract.columns:
        values = table[column.name]
        assert column.nullable or values.null_count == 0
        assert not column.accepted or set(values.drop_null().to_pylist()) <= set(column.accepted)


def test_types_are_arrow_types_where_nothing_is_broken(clean_shop: SimulatedShop) -> None:
    for dataset, contract in CONTRACTS.items():
        schema: pa.Schema = read(clean_shop, dataset).schema
        for field in contract.arrow_schema():
            assert schema.field(field.name).type == field.type
