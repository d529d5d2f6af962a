"""Each seeded fault is found by the data tests that claim to find it, and a sound warehouse by none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from ecom_assets.warehouse.dbt_project import dbt_home, read_manifest
from tests.mutation.faults import DOCUMENT, FAULTS, Fault, delivered_as, document
from tests.mutation.warehouse import MutableWarehouse
from tests.support.whole_run import Bench


@pytest.fixture(scope="module")
def warehouse(small_shop: tuple[Bench, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MutableWarehouse]:
    settings = small_shop[0].settings
    copy = tmp_path_factory.mktemp("faults") / settings.warehouse_path.name
    shutil.copy(settings.warehouse_path, copy)
    mutable = MutableWarehouse(copy, read_manifest(dbt_home(settings) / "run"))
    yield mutable
    mutable.close()


def test_a_sound_warehouse_fails_no_test(warehouse: MutableWarehouse) -> None:
    assert warehouse.failing() == set()


def test_an_order_whose_cancellation_is_in_quarantine_is_excused(warehouse: MutableWarehouse) -> None:
    """It looks placed and unpaid. The other tests are silent as they are: what it lacks is told by the quarantine."""
    cancelled_later = """
        status = 'cancelled' AND order_id = (
            SELECT min(o.order_id) FROM raw.orders AS o
            WHERE o.status = 'placed' AND o.ordered_at < TIMESTAMPTZ '2024-11-01'
                AND NOT EXISTS (SELECT 1 FROM raw.payments AS p WHERE p.order_id = o.order_id AND p.status = 'captured')
        )
    """
    with warehouse.quarantined("orders", cancelled_later):
        assert warehouse.failing() == set()


def test_refunds_that_name_only_their_order_and_its_line_are_sound(warehouse: MutableWarehouse) -> None:
    """Whose they are, and of what, the tests on customers and products find out by the order and not by the refund."""
    nameless = "CAST(NULL AS VARCHAR) AS customer_id, CAST(NULL AS VARCHAR) AS product_id"
    with warehouse.seeded(delivered_as("refunds name only their order", "refunds", nameless)):
        assert warehouse.failing() == set()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_is_found(warehouse: MutableWarehouse, fault: Fault) -> None:
    with warehouse.seeded(fault):
        found = {test: warehouse.rows_of(test) for test in fault.caught_by}
        assert all(found.values()), f"not found by {found}; failing are {warehouse.failing()}"


def test_the_table_in_the_docs_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run `make docs`"
