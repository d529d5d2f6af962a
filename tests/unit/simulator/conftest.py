"""Shops that several test modules read: made once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ecom_assets.contracts import CONTRACTS
from ecom_assets.simulator import SimulatedShop
from shops import NO_TROUBLE, make_shop, read


@pytest.fixture(scope="session")
def clean_shop() -> SimulatedShop:
    """Fourteen months without trouble, so that every campaign and a second January are in it."""
    return make_shop(customers=600, end=date(2025, 3, 1), **NO_TROUBLE)


@pytest.fixture(scope="session")
def db(clean_shop: SimulatedShop) -> Iterator[duckdb.DuckDBPyConnection]:
    """The clean shop's datasets as tables, and its truth as `truth_*`."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    for dataset in CONTRACTS:
        connection.register("rows", read(clean_shop, dataset))
        connection.execute(f"create table {dataset} as select * from rows")
    for name, table in clean_shop.truth().items():
        connection.register("rows", table)
        connection.execute(f"create table truth_{name} as select * from rows")
    connection.unregister("rows")
    yield connection
    connection.close()
