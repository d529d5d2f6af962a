"""Loading accounts for each delivered row, replaces exactly its windows, and can be repeated."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cartograph.lake import Lake
from cartograph.settings import load_settings
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import examples, late_rows, quarantine_summary
from ecom_assets.quality.anomalies import Anomaly
from ecom_assets.sources import Unreadable
from tests.unit.ingestion.making import FEBRUARY, JANUARY, SHOP, Rows, customer, line, order, run


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path))


def ids(lake: Lake, table: str) -> list[str]:
    return sorted(lake.batches(table, columns=["order_id"]).read_all()["order_id"].to_pylist())


def test_each_row_is_accepted_merged_or_quarantined(lake: Lake) -> None:
    rows = [
        order("a", 1),
        order("a", 1),
        order("b", 40),
        order("c", 2, total_amount=Decimal(11)),
        order("d", 3, status="lost"),
    ]
    report = run(lake, Rows("orders", rows))
    assert (report.counts.delivered, report.counts.accepted, report.counts.merged) == (5, 2, 1)
    assert report.counts.quarantined == {"total_ties_out": 1, "not_accepted:status": 1}
    assert report.is_accounted_for
    assert ids(lake, "raw.orders") == ["a", "b"]
    reasons = {row["reason"]: row["row_count"] for row in quarantine_summary(lake, "orders").to_pylist()}
    assert reasons == {"exact_duplicate": 1, "total_ties_out": 1, "not_accepted:status": 1}


def test_orphans_are_quarantined_until_their_parent_is_there(lake: Lake) -> None:
    run(lake, Rows("customers", [customer("known")]))
    orders = Rows("orders", [order("a", 1, customer_id="known"), order("b", 2, customer_id="unknown"), order("c", 3)])
    assert run(lake, orders).counts.quarantined == {"orphan:customer_id": 1}
    assert ids(lake, "raw.orders") == ["a", "c"]
    run(lake, Rows("customers", [customer("known"), customer("unknown")]))
    assert run(lake, orders).counts.quarantined == {}
    assert ids(lake, "raw.orders") == ["a", "b", "c"]
    assert quarantine_summary(lake, "orders").num_rows == 0


def test_a_line_that_lies_in_another_window_than_its_order_is_quarantined_until_it_has_its_time(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 30), order("b", 31)]))
    apart = Rows("order_items", [line("a", 31), line("b", 31)])
    assert run(lake, apart).counts.quarantined == {"unlike_parent:ordered_at": 1}
    assert run(lake, apart, FEBRUARY).counts.quarantined == {"unlike_parent:ordered_at": 1}, (
        "and so in its window alone"
    )
    assert ids(lake, "raw.order_items") == ["b"]
    assert run(lake, Rows("order_items", [line("a", 30), line("b", 31)])).counts.quarantined == {}
    assert ids(lake, "raw.order_items") == ["a", "b"]


def test_a_window_is_replaced_and_the_others_are_left(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 40)]))
    before = lake.row_count("raw.orders")
    run(lake, Rows("orders", [order("b", 40), order("late", 41)]), FEBRUARY)
    assert before == 2
    assert ids(lake, "raw.orders") == ["a", "b", "late"]
    run(lake, Rows("orders", []), FEBRUARY)
    assert ids(lake, "raw.orders") == ["a"]


def test_what_could_not_be_read_is_named(lake: Lake) -> None:
    report = run(
        lake, Rows("orders", [order("a", 1)], (Unreadable("x.csv.gz", "is cut short", "Deliver it again."),)), JANUARY
    )
    assert [file.name for file in report.unreadable] == ["x.csv.gz"]
    assert report.is_accounted_for


DAMAGED = Unreadable("february.csv", "its gzip data is damaged", "Deliver it again")


def test_rows_that_were_loaded_stay_while_something_cannot_be_read(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 32), order("c", 33)]))
    changed = order("b", 32, status="shipped")
    report = run(lake, Rows("orders", [order("a", 1), changed, order("d", 34)], unreadable=(DAMAGED,)))
    assert ids(lake, "raw.orders") == ["a", "b", "c", "d"]
    assert (report.counts.accepted, report.kept, report.stored) == (3, 1, 4)
    assert report.is_accounted_for
    statuses = lake.batches("raw.orders", columns=["order_id", "status"]).read_all().to_pylist()
    assert {row["order_id"]: row["status"] for row in statuses}["b"] == "shipped"


def test_rows_go_when_a_source_that_can_be_read_no_longer_has_them(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 32), order("c", 33)]))
    report = run(lake, Rows("orders", [order("a", 1), order("b", 32)]))
    assert ids(lake, "raw.orders") == ["a", "b"]
    assert (report.kept, report.vanished) == (0, 1)
    assert run(lake, Rows("orders", [order("a", 1), order("b", 32)])).vanished == 0


def test_nothing_is_kept_where_nothing_was_loaded(lake: Lake) -> None:
    report = run(lake, Rows("orders", [order("a", 1)], unreadable=(DAMAGED,)))
    assert (report.kept, report.vanished, report.stored) == (0, 0, 1)


def test_rows_that_moved_to_the_quarantine_have_not_vanished(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 2)]))
    report = run(lake, Rows("orders", [order("a", 1), order("b", 2, status="lost")]))
    assert (report.stored, report.vanished) == (1, 0)


def test_quarantined_rows_that_are_not_delivered_any_more_have_vanished(lake: Lake) -> None:
    bad, repeated = order("bad", 2, status="lost"), order("a", 1)
    run(lake, Rows("orders", [order("a", 1), repeated, bad]))
    mended = run(lake, Rows("orders", [order("a", 1), order("bad", 2)]))
    assert (mended.stored, mended.vanished) == (2, 0)
    run(lake, Rows("orders", [order("a", 1), bad]))
    report = run(lake, Rows("orders", [order("a", 1)]))
    assert (report.stored, report.vanished) == (1, 1)
    assert quarantine_summary(lake, "orders").num_rows == 0


def test_quarantined_rows_stay_while_what_they_came_from_cannot_be_read(lake: Lake) -> None:
    """Where each row comes from is told by `_source`: of a place that was read now, what it gives now counts."""

    def bad(order_id: str, line: int, **changes: Any) -> dict[str, Any]:
        return order(order_id, 32 + line, **{"status": "lost", "_source": f"february.csv line {line}", **changes})

    run(lake, Rows("orders", [order("a", 1), bad("b", 1), bad("c", 2), bad("d", 3)]))
    now = [order("a", 1), bad("c", 2, status="placed"), bad("d", 3)]
    report = run(lake, Rows("orders", now, unreadable=(DAMAGED,)))
    assert ids(lake, "raw.orders") == ["a", "c"]
    kept = lake.batches("quarantine.orders", columns=["row"]).read_all()["row"].to_pylist()
    assert sorted(json.loads(row)["order_id"] for row in kept) == ["b", "d"]
    assert (report.kept, report.vanished, report.is_accounted_for) == (0, 0, True)
    assert run(lake, Rows("orders", now)).vanished == 1


def test_rows_without_a_place_are_told_until_the_first_window_has_quarantined_them(lake: Lake) -> None:
    rows = [order("a", 1), order("b", 40), order("early", -9)]
    assert run(lake, Rows("orders", rows), FEBRUARY).unplaced == 1
    assert run(lake, Rows("orders", rows), JANUARY).counts.quarantined == {"outside_shop_dates": 1}
    assert run(lake, Rows("orders", rows), FEBRUARY).unplaced == 0
    rows.append(order("earlier", -10))
    assert run(lake, Rows("orders", rows), FEBRUARY).unplaced == 1
    whole = run(lake, Rows("orders", rows))
    assert (whole.unplaced, whole.counts.quarantined) == (0, {"outside_shop_dates": 2})


def event(event_id: str, hours: float) -> dict[str, Any]:
    at = SHOP.start + timedelta(days=3)
    times = {"occurred_at": at, "received_at": at + timedelta(hours=hours)}
    return {"event_id": event_id, "event_type": "page_view", "visitor_id": "v", **times}


def test_rows_that_come_too_late_are_quarantined_and_late_ones_are_counted(lake: Lake) -> None:
    rows = [event("soon", 0.1), event("late", 30), event("in time", 48), event("too late", 48.1)]
    report = run(lake, Rows("events", rows))
    assert report.counts.quarantined == {"too_late": 1}
    late = late_rows(lake, CONTRACTS["events"], SHOP, timedelta(hours=24), 10)
    assert (late[0], late[1], sorted(late[2])) == (2, 3, ["in time", "late"])
    assert late_rows(lake, CONTRACTS["events"], FEBRUARY, timedelta(hours=24), 10) == (0, 0, [])


def test_a_column_that_is_not_delivered_any_more_is_lost_and_one_that_never_was_is_not(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1, channel="email")]), JANUARY)
    report = run(lake, Rows("orders", [order("b", 40)]), FEBRUARY)
    assert report.lost_columns == ("channel",)
    assert "coupon_code" in report.counts.absent_columns


def test_examples_are_keys_of_rows_that_stand_out_on_their_day(lake: Lake) -> None:
    run(
        lake,
        Rows("orders", [order("a", 1, channel="even"), order("b", 1, channel="odd"), order("c", 2, channel="odd")]),
    )
    day = (SHOP.start + timedelta(days=1)).date()
    anomaly = Anomaly(day, "channel", "found", "expected", "channel = 'odd'")
    assert examples(lake, CONTRACTS["orders"], [anomaly], 10) == ["b, 2024-01-02 00:00:00+00"]


def test_a_column_that_the_contract_lacks_is_kept_from_when_it_comes(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1), order("b", 2)]))
    report = run(lake, Rows("orders", [order("a", 1), order("c", 40, wallet="apple", gift=True)]))
    assert report.counts.extra_columns == ("wallet", "gift")
    assert report.is_accounted_for
    rows = lake.batches("raw.orders", columns=["order_id", "_extra_wallet", "_extra_gift"]).read_all().to_pylist()
    assert rows == [
        {"order_id": "a", "_extra_wallet": None, "_extra_gift": None},
        {"order_id": "c", "_extra_wallet": "apple", "_extra_gift": "true"},
    ]
    run(lake, Rows("orders", [order("d", 41)]), FEBRUARY)
    assert ids(lake, "raw.orders") == ["a", "d"]


def test_rows_with_such_a_column_stay_while_something_cannot_be_read(lake: Lake) -> None:
    run(lake, Rows("orders", [order("a", 1, wallet="apple"), order("b", 2, wallet="none")]))
    report = run(lake, Rows("orders", [order("a", 1)], unreadable=(DAMAGED,)), JANUARY)
    assert (report.kept, report.stored) == (1, 2)
    rows = lake.batches("raw.orders", columns=["order_id", "_extra_wallet"]).read_all().to_pylist()
    assert sorted((row["order_id"], row["_extra_wallet"]) for row in rows) == [("a", None), ("b", "none")]
