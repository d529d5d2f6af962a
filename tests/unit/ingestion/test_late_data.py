"""Late rows and mended files are found in their own partitions, with the partitions that look them up, no others."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.lake import Lake
from cartograph.settings import load_settings
from cartograph.windows import Window, windows
from ecom_assets.late_data import Change, Findings, Repair, find
from ecom_assets.sources import Unreadable
from tests.unit.ingestion.making import FEBRUARY, JANUARY, SHOP, Rows, customer, line, order, run

BOTH = (JANUARY, FEBRUARY)
DAYS = tuple(windows(SHOP.start, SHOP.end, "daily"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path))


def look(
    lake: Lake, *sources: Rows, loaded: tuple[Window, ...] = BOTH, only: tuple[Window, ...] | None = None
) -> Findings:
    known = {source.dataset: loaded for source in sources}
    return find(lake, sources, known, shop_window=SHOP, grain="monthly", late_limit=timedelta(hours=48), only=only)


def refund(order_id: str, day: int) -> dict[str, Any]:
    at = SHOP.start + timedelta(days=day)
    amounts = {"quantity": 1, "unit_price": 1, "amount": 1}
    return {"refund_id": f"of {order_id}", "refunded_at": at, "order_id": order_id} | amounts


def test_what_was_loaded_is_no_change(lake: Lake) -> None:
    source = Rows("orders", [order("a", 1), order("a", 1), order("b", 40), order("c", 2, status="lost")])
    run(lake, source)
    assert look(lake, source) == Findings((), frozenset(), ())
    assert look(lake, source).repairs() == []


def test_a_late_row_is_found_in_its_own_partition(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 40)]))
    found = look(lake, Rows("orders", [order("late", 3), order("a", 1), order("b", 40)]))
    assert found.changes == (Change("orders", JANUARY, new=1, gone=0, set_aside=0),)
    assert found.repairs() == [Repair((JANUARY,), ("orders",))]
    assert str(found.changes[0]) == "orders 2024-01-01: 1 new"


class Unchanging(Rows):
    """Rows that a source says are always the same, which a changed contract may see otherwise."""

    def fingerprint(self, dataset: str) -> None:  # type: ignore[override]
        del dataset


def test_only_some_partitions_are_looked_at_also_of_a_source_that_never_changes(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1, status="lost"), order("b", 40)]))
    mended = Unchanging("orders", [order("a", 1), order("b", 40), order("late", 41)])
    assert look(lake, mended).changes == ()
    assert look(lake, mended, only=(JANUARY,)).changes == (Change("orders", JANUARY, new=1, gone=0, set_aside=-1),)


def test_another_value_a_withdrawn_row_and_a_broken_one_are_changes(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 40)]))
    found = look(lake, Rows("orders", [order("a", 1, status="completed"), order("c", 2, status="lost")]))
    assert found.changes == (
        Change("orders", JANUARY, new=1, gone=1, set_aside=1),
        Change("orders", FEBRUARY, new=0, gone=1, set_aside=0),
    )


def test_a_partition_that_was_never_loaded_is_no_repair(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1)]), JANUARY)
    assert look(lake, Rows("orders", [order("a", 1), order("b", 40)]), loaded=(JANUARY,)).changes == ()


def test_rows_that_may_be_in_an_unreadable_file_are_no_change(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 40)]))
    cut = (Unreadable("orders.csv", "it is cut short", "Deliver it again"),)
    unread = look(lake, Rows("orders", [order("b", 40)], cut))
    assert (unread.changes, unread.unreadable) == ((), cut)
    found = look(lake, Rows("orders", [order("b", 40), order("c", 41)], cut)).changes
    assert found == (Change("orders", FEBRUARY, new=1, gone=0, set_aside=0),)


def test_orphans_whose_parent_came_late_are_found_with_it(lake: Lake) -> None:
    orders = Rows("orders", [order("a", 1, customer_id="late"), order("b", 40)])
    run(lake, Rows("customers", [customer("known")]))
    run(lake, orders)
    found = look(lake, Rows("customers", [customer("known"), customer("late", 33)]), orders)
    assert found.changes == (
        Change("customers", FEBRUARY, new=1, gone=0, set_aside=0),
        Change("orders", JANUARY, new=1, gone=0, set_aside=-1),
    )


def test_parents_that_came_late_in_several_deliveries_are_all_known(lake: Lake) -> None:
    orders = Rows("orders", [order("a", 1, customer_id="early"), order("b", 40, customer_id="late")])
    run(lake, Rows("customers", [customer("known")]))
    run(lake, orders)
    people = Rows("customers", [customer("known"), customer("early", 1), customer("late", 33)])
    found = [(change.window, change.new) for change in look(lake, people, orders).changes if change.dataset == "orders"]
    assert found == [(JANUARY, 1), (FEBRUARY, 1)]


@pytest.mark.parametrize(
    ("versions", "late", "touched"),
    [
        ([0], 20, [JANUARY, FEBRUARY]),  # holds from then on: also for the order in February
        ([0, 25], 20, [JANUARY]),  # until the next version
        ([0], 35, [FEBRUARY]),
        ([35], 32, [JANUARY]),  # the first version holds for all time before, too
        ([0], 50, []),  # no order after it
    ],
)
def test_a_late_version_touches_the_orders_that_look_it_up(
    lake: Lake, versions: list[int], late: int, touched: list[Window]
) -> None:
    orders = [order("early", 1), order("a", 22, customer_id="c"), order("b", 40, customer_id="c")]
    known = [customer("c", day) for day in versions]
    run(lake, Rows("customers", known))
    run(lake, Rows("orders", orders))
    found = look(lake, Rows("customers", [*known, customer("c", late, city="Graz")]), Rows("orders", orders))
    assert [change.dataset for change in found.changes] == ["customers"]
    assert sorted(window for _, window in found.touched) == touched


def test_an_order_that_was_cancelled_touches_its_refunds(lake: Lake) -> None:
    refunds = Rows("refunds", [refund("a", 40), refund("b", 2)])
    run(lake, Rows("orders", [order("a", 1), order("b", 1)]))
    run(lake, refunds)
    cancelled = order("a", 1) | {"status": "cancelled", "updated_at": SHOP.start + timedelta(days=39)}
    found = look(lake, Rows("orders", [order("a", 1), order("b", 1), cancelled]), refunds)
    assert found.touched == {("orders", FEBRUARY)}
    assert found.lookups() == ["2024-02-01: facts that look up these orders"]
    assert found.repairs() == [Repair(BOTH, ("orders",))]


def test_an_order_that_is_another_customers_touches_its_refunds(lake: Lake) -> None:
    refunds = Rows("refunds", [refund("a", 40), refund("b", 2)])
    run(lake, Rows("orders", [order("a", 1), order("b", 1)]))
    run(lake, refunds)
    found = look(lake, Rows("orders", [order("a", 1, customer_id="c"), order("b", 1)]), refunds)
    assert found.touched == {("orders", FEBRUARY)}


def test_a_line_that_is_of_another_product_touches_its_refunds(lake: Lake) -> None:
    refunds = Rows("refunds", [refund("a", 40), refund("b", 2)])
    run(lake, Rows("orders", [order("a", 1), order("b", 1)]))
    run(lake, Rows("order_items", [line("a", 1), line("b", 1)]))
    run(lake, refunds)
    found = look(lake, Rows("order_items", [line("a", 1, product_id="q"), line("b", 1)]), refunds)
    assert found.touched == {("order_items", FEBRUARY)}


def test_a_source_that_always_delivers_the_same_is_not_asked(lake: Lake) -> None:
    class Fixed(Rows):
        def fingerprint(self, dataset: str) -> None:  # type: ignore[override]  # noqa: ARG002
            return None

    run(lake, Rows("orders", [order("a", 1)]))
    assert look(lake, Fixed("orders", [])).changes == ()


@given(st.dictionaries(st.sampled_from(DAYS), st.sets(st.sampled_from(["orders", "events"]), min_size=1)))
def test_repairs_cover_each_change_once_and_adjoin_nowhere(wanted: dict[Window, set[str]]) -> None:
    changes = tuple(Change(name, window, 1, 0, 0) for window, names in wanted.items() for name in names)
    repairs = Findings(changes, frozenset(), ()).repairs()
    assert sorted(window for repair in repairs for window in repair.windows) == sorted(wanted)
    for repair in repairs:
        assert set(repair.datasets) == set().union(*(wanted[window] for window in repair.windows))
    assert all(one.windows[-1].end < two.windows[0].start for one, two in pairwise(repairs))
