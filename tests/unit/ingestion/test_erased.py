"""A load leaves erased customers out, however often they are delivered, and the lake comes to the same by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cartograph.erasure import ErasureError, Register, Wanted, scan
from cartograph.events import read, segments
from cartograph.lake import Lake
from cartograph.settings import load_settings
from ecom_assets.contracts import CONTRACTS
from ecom_assets.erasure import anonymise_lake, anonymise_log, events_of
from ecom_assets.ingestion import Batch, LoadReport, load
from ecom_assets.late_data import find
from ecom_assets.personal import near_customers, personal_values, rows_of
from ecom_assets.sources import Source
from tests.unit.erasure.making import ADA, BROWSER, EMAIL, PSEUDONYM, erase_ada
from tests.unit.events.making import append, make_event
from tests.unit.sources.making import MONTHS, SHOP, source, write_csv

EVE, SHARED = "C00000018", "v_shared"
ORDER_HEADER = (
    "order_id,updated_at,ordered_at,customer_id,status,total_amount,shipping_postal_code,"
    "subtotal_amount,discount_amount,shipping_amount"
)
FILES = {
    "customers": (
        "customer_id,updated_at,registered_at,email,first_name,city,nickname",
        [
            f"{ADA},2024-01-02,2024-01-02,{EMAIL},Ada,Bonn,countess",
            f"{ADA},2024-02-02,2024-01-02,{EMAIL},Ada,Köln,countess",
            f"{EVE},2024-01-03,2024-01-03,eve@example.com,Eve,Bonn,",
            f"broken,when?,2024-01-03,{EMAIL},Ada,Bonn,",
        ],
    ),
    "orders": (
        ORDER_HEADER,
        [
            f"o1,2024-01-05,2024-01-05,{ADA},placed,12,53111,10,0,2",
            f"o2,2024-02-05,2024-02-05,{EVE},placed,22,53111,20,0,2",
            f"o3,2024-02-06,2024-02-06,{ADA},lost,22,53111,20,0,2",
        ],
    ),
    "payments": (
        "payment_id,order_id,paid_at,method,status,amount,ip_address",
        ["p1,o1,2024-01-05,card,captured,12,10.0.0.17", "p2,o2,2024-02-05,card,captured,22,10.0.0.18"],
    ),
    "events": (
        "event_id,occurred_at,received_at,event_type,visitor_id,customer_id",
        [
            f"e1,2024-01-04,2024-01-04,page_view,{BROWSER},",
            f"e2,2024-01-04,2024-01-04,page_view,{BROWSER},{ADA}",
            f"e3,2024-01-04,2024-01-04,page_view,{SHARED},{ADA}",
            f"e4,2024-01-04,2024-01-04,page_view,{SHARED},{EVE}",
            f"e5,2024-01-04,2024-01-04,clik,{BROWSER},",
        ],
    ),
}
WANTED = Wanted(frozenset({ADA}), frozenset({EMAIL, BROWSER, "10.0.0.17"}), {"first_name": frozenset({"Ada"})})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path / "home"))


@pytest.fixture
def reader(tmp_path: Path) -> Source:
    """The shop's files, which never change."""
    for name, (header, lines) in FILES.items():
        write_csv(tmp_path / "drops" / f"{name}.csv", lines, header)
    files = {name: {"path": str(tmp_path / "drops" / f"{name}.csv")} for name in FILES}
    selects = {name: f"SELECT * EXCLUDE (_file, _line), _file AS _source FROM {name}" for name in FILES}
    return source(files, selects)


@pytest.fixture
def ingest(lake: Lake, reader: Source) -> Callable[[], dict[str, LoadReport]]:
    """Loads all files of the shop."""

    def ingested() -> dict[str, LoadReport]:
        batch = Batch(ingested_at=datetime(2024, 5, 1, tzinfo=UTC), batch_id="test")
        return {
            name: load(
                lake, reader, CONTRACTS[name], MONTHS, shop_window=SHOP, grain="monthly", batch=batch,
                late_limit=timedelta(days=2),
            )
            for name in FILES
        }  # fmt: skip

    return ingested


def content(lake: Lake) -> dict[str, list[dict[str, Any]]]:
    names = [f"{space}.{name}" for space in ("raw", "quarantine") for name in FILES]
    return {name: sorted(lake.batches(name).read_all().to_pylist(), key=repr) for name in names}


def erase(lake: Lake) -> Register:
    return erase_ada(lake.settings.shop_home / "erasures")


def contracts() -> dict[str, Any]:
    return {f"{space}.{name}": contract for space in ("raw", "quarantine") for name, contract in CONTRACTS.items()}


def hits(lake: Lake) -> list[str]:
    return scan([lake.settings.shop_home], WANTED, duckdb.connect).hits


def test_rows_of_an_erased_customer_are_not_late(
    lake: Lake, reader: Source, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    ingest()
    erase(lake)
    anonymise_lake(lake, contracts())
    loaded = dict.fromkeys(FILES, MONTHS)
    found = find(lake, [reader], loaded, shop_window=SHOP, grain="monthly", late_limit=timedelta(days=2))
    assert [str(change) for change in found.changes] == []


def test_old_files_do_not_bring_a_customer_back(lake: Lake, ingest: Callable[[], dict[str, LoadReport]]) -> None:
    before = ingest()
    assert before["customers"].counts.quarantined.total() == 1
    assert hits(lake)
    erase(lake)
    after = ingest()
    assert {name: report.counts.accepted for name, report in after.items()} == {
        name: report.counts.accepted for name, report in before.items()
    }
    assert all(report.is_accounted_for and not report.vanished for report in after.values())
    for name in (*(f"raw.{n}" for n in FILES), *(f"quarantine.{n}" for n in FILES)):
        lake.forget(name, now=datetime.now(UTC) + timedelta(hours=1))
    assert hits(lake) == []
    rows = content(lake)
    assert {row["customer_id"] for row in rows["raw.orders"]} == {PSEUDONYM, EVE}
    assert sum(row["total_amount"] for row in rows["raw.orders"]) == 34
    assert [row["_extra_nickname"] for row in rows["raw.customers"]] == [None, None, None]
    assert {row["row"] for row in rows["quarantine.customers"]} == {"{}"}


def test_the_lake_by_itself_comes_to_what_a_load_would_make_of_it(
    lake: Lake, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    ingest()
    erase(lake)
    touched = anonymise_lake(lake, contracts())
    assert set(touched) >= {"raw.customers", "raw.orders", "raw.payments", "raw.events", "quarantine.orders"}
    assert anonymise_lake(lake, contracts()) == []
    in_place = content(lake)
    ingest()
    assert content(lake) == in_place


def test_the_event_log_comes_to_what_a_load_would_make_of_it(
    lake: Lake, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    ingest()
    folder = lake.settings.events_dir
    theirs = make_event("e6", customer_id=ADA, visitor_id="v_ada_tablet")
    others = make_event("e7", customer_id=EVE), make_event("e8", visitor_id=SHARED)
    bought = make_event("e9", event_type="purchase", order_id="o1", visitor_id="v_logged_out")
    append(folder, [theirs, *others, make_event("e10", visitor_id=BROWSER)], [others[0]], [bought])
    assert events_of(folder, [ADA]) == 1
    erase(lake)
    anonymise_lake(lake, contracts())  # so that their orders are known
    assert len(anonymise_log(lake)) == 1
    assert anonymise_log(lake) == []
    assert events_of(folder, [ADA]) == 0
    assert events_of(folder, [PSEUDONYM]) == 1
    after = {event["event_id"]: event for path in segments(folder) for event in read(path).events}
    assert [after["e7"], after["e8"]] == [*others]
    assert [after[name]["visitor_id"][:7] for name in ("e6", "e9", "e10")] == ["erased-"] * 3
    assert scan([folder], WANTED, duckdb.connect).hits == []


def test_loading_waits_while_the_key_of_the_register_is_gone(
    lake: Lake, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    erase(lake)
    (lake.settings.shop_home / "erasures" / "key").unlink()
    with pytest.raises(ErasureError, match="nothing is loaded"):
        ingest()


def test_what_only_the_customer_has_is_known_and_what_others_have_too_is_not(
    lake: Lake, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    ingest()
    found = {(value.dataset, value.column, value.value) for value in personal_values(lake, [ADA])}
    assert found == {
        ("events", "visitor_id", BROWSER),
        ("payments", "ip_address", "10.0.0.17"),
    }, "a row of nobody has the address and the name as well, and Eve the postal code"
    assert {v.value for v in personal_values(lake, [EVE])} == {"eve@example.com", "Eve", "10.0.0.18"}


def test_the_rows_of_a_customer_are_counted_and_near_ids_named(
    lake: Lake, ingest: Callable[[], dict[str, LoadReport]]
) -> None:
    ingest()
    assert rows_of(lake, [ADA]) == {
        "quarantine.orders": 1,
        "raw.customers": 2,
        "raw.events": 2,
        "raw.orders": 1,
        "raw.payments": 1,
    }
    assert rows_of(lake, ["nobody"]) == {}
    assert near_customers(lake, "C00000016") == [ADA, EVE]
