"""What an erasure makes of rows, by the contracts, and that a load and the lake come to the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cartograph.contracts import Column, Contract
from cartograph.erasure import ERASED
from ecom_assets.contracts import CONTRACTS
from ecom_assets.erasure import CUSTOMER, ORDER, SILENT, Erased, anonymised, anonymised_quarantine, silenced
from tests.unit.erasure.making import ADA, BROWSER, EMAIL, PSEUDONYM, erase_ada

EVE = "C00000018"


@pytest.fixture
def erased(tmp_path: Path) -> Erased:
    return Erased(erase_ada(tmp_path), pa.array(["o1"]))


def changed(dataset: str, rows: list[dict[str, Any]], erased: Erased) -> list[dict[str, Any]]:
    return anonymised(pa.Table.from_pylist(rows), CONTRACTS[dataset], erased).to_pylist()


def person(customer: str, **values: Any) -> dict[str, Any]:
    known = {"email": EMAIL, "first_name": "Ada", "birth_date": "1980-01-02", "city": "Bonn", "hobby": "chess"}
    return {CUSTOMER: customer, **known, "_source": "people.csv line 3", **values}


def test_the_person_goes_and_what_is_no_personal_data_stays(erased: Erased) -> None:
    rows = changed("customers", [person(ADA), person(EVE)], erased)
    nothing = {"email": None, "first_name": None, "birth_date": None, "hobby": None}
    assert rows == [person(PSEUDONYM, **nothing), person(EVE)]


def test_amounts_and_products_of_an_order_stay(erased: Erased) -> None:
    order = {"order_id": "o1", CUSTOMER: ADA, "total_amount": Decimal("12.00"), "shipping_postal_code": "53111"}
    assert changed("orders", [order], erased) == [{**order, CUSTOMER: PSEUDONYM, "shipping_postal_code": None}]


def test_a_payment_is_the_customers_by_its_order(erased: Erased) -> None:
    payments = [
        {"order_id": order, "amount": 5, "ip_address": "10.0.0.1", "card_fingerprint": None} for order in ("o1", "o2")
    ]
    assert changed("payments", payments, erased) == [{**payments[0], "ip_address": None}, payments[1]]


def test_visits_stay_visits_of_the_same_browser_also_logged_out(erased: Erased) -> None:
    visits = [(ADA, BROWSER), (None, BROWSER), ("", BROWSER), (ADA, "v_shared"), (EVE, "v_shared"), (None, "v_other")]
    rows = changed("events", [{CUSTOMER: who, "visitor_id": browser} for who, browser in visits], erased)
    own, shared = erased.register.alias(BROWSER), erased.register.alias("v_shared")
    assert [(row[CUSTOMER], row["visitor_id"]) for row in rows] == [
        (PSEUDONYM, own),
        (None, own),
        ("", own),
        (PSEUDONYM, shared),
        (EVE, "v_shared"),
        (None, "v_other"),
    ]
    assert own.startswith(ERASED)


def test_a_column_that_the_contract_lacks_names_nobody(erased: Erased) -> None:
    items = [{"order_id": "o9", "quantity": 1, "customer_id": ADA, "mail": EMAIL, "colour": "red"}]
    assert changed("order_items", items, erased) == [{**items[0], "customer_id": None, "mail": None}]
    stored = [{"order_id": "o9", "_extra_customer_id": ADA}, {"order_id": "o9", "_extra_customer_id": EVE}]
    assert changed("order_items", stored, erased) == [{**stored[0], "_extra_customer_id": None}, stored[1]]


def test_ids_that_come_as_numbers_are_known_too(tmp_path: Path) -> None:
    register = erase_ada(tmp_path / "n")
    register.record(register.entries[0].model_copy(update={"customer": register.digest("12346")}))
    rows = pa.table({CUSTOMER: pa.array([12346, 12347, None], pa.int64()), "total_amount": [1, 2, 3]})
    found = anonymised(rows, CONTRACTS["orders"], Erased(register, pa.array([], pa.string())))
    assert found[CUSTOMER].to_pylist() == [PSEUDONYM, "12347", None]


def test_rows_of_others_are_the_very_same_table(erased: Erased) -> None:
    rows = pa.Table.from_pylist([person(EVE)])
    assert anonymised(rows, CONTRACTS["customers"], erased) is rows
    products = pa.table({"product_id": ["p"], "name": ["Ada"]})
    assert anonymised(products, CONTRACTS["products"], erased) is products


def quarantined(*contents: dict[str, str | None]) -> pa.Table:
    texts = [json.dumps(content, ensure_ascii=False, separators=(",", ":")) for content in contents]
    return pa.table({"reason": ["wrong"] * len(texts), "row": pa.array(texts, pa.string())})


def test_a_quarantined_row_that_names_the_customer_anywhere_loses_its_content(erased: Erased) -> None:
    swapped = {"order_id": ADA, "status": "o1"}
    worded = {"note": f"call <{EMAIL}>, soon", "customer_id": None}
    rows = silenced(quarantined(swapped, worded, {"order_id": "o9", "customer_id": EVE}), erased.register)
    assert rows["row"].to_pylist() == [SILENT, SILENT, '{"order_id":"o9","customer_id":"C00000018"}']


def test_a_quarantined_row_with_the_customer_where_they_belong_keeps_the_rest(erased: Erased) -> None:
    order = {"order_id": "o5", "customer_id": ADA, "total_amount": "0.01", "shipping_postal_code": "53111"}
    rows = anonymised_quarantine(quarantined(order, {"order_id": "ü"}), CONTRACTS["orders"], erased)
    assert [json.loads(row) for row in rows["row"].to_pylist()] == [
        {**order, "customer_id": PSEUDONYM, "shipping_postal_code": None},
        {"order_id": "ü"},
    ]
    assert anonymised_quarantine(rows, CONTRACTS["orders"], erased) is rows


def test_what_must_not_be_empty_is_text_so_that_it_can_have_a_stand_in() -> None:
    tagged = [(c.dataset, column) for c in CONTRACTS.values() for column in c.columns if column.pii]
    assert len(tagged) > 10
    assert [(name, column.name) for name, column in tagged if not column.nullable and column.type != "string"] == []


def test_every_contract_calls_a_customer_and_an_order_by_the_names_that_an_erasure_follows() -> None:
    references = [reference for contract in CONTRACTS.values() for reference in contract.references]
    named = {(r.dataset, r.column) for r in references if r.dataset in {"customers", "orders"}}
    assert named == {("customers", CUSTOMER), ("orders", ORDER)}
    personal = [c for c in CONTRACTS.values() if any(column.pii for column in c.columns)]
    assert [c.dataset for c in personal if CUSTOMER not in c.names and ORDER not in c.names] == []


CELLS = st.none() | st.sampled_from(["", "x", EMAIL, BROWSER, "v_2", ADA, EVE, PSEUDONYM])
KINDS: tuple[Any, ...] = (None, "email", "name", "device")


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Contract, pa.Table]:
    """A dataset of any contract, with rows of anybody."""
    columns = [
        Column(
            name=f"c{n}", type="string", description="c", nullable=draw(st.booleans()), pii=draw(st.sampled_from(KINDS))
        )
        for n in range(draw(st.integers(1, 3)))
    ]
    if draw(st.booleans()):
        columns.append(Column(name=CUSTOMER, type="string", description="c", nullable=True))
    columns.append(Column(name="order_id", type="string", description="c"))
    contract = Contract(dataset="any", grain="A row.", columns=tuple(columns), key=("c0",))
    size = draw(st.integers(0, 5))
    names = [*contract.names, *(["extra"] if draw(st.booleans()) else []), "_source"]
    cells = {name: draw(st.lists(CELLS, min_size=size, max_size=size)) for name in names}
    cells["order_id"] = draw(st.lists(st.sampled_from(["o1", "o2"]), min_size=size, max_size=size))
    return contract, pa.table({name: pa.array(values, pa.string()) for name, values in cells.items()})


@given(datasets())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_lose_the_customer_only_once_and_nothing_else(erased: Erased, made: tuple[Contract, pa.Table]) -> None:
    contract, rows = made
    once = anonymised(rows, contract, erased)
    assert anonymised(once, contract, erased) is once or anonymised(once, contract, erased).equals(once)
    assert once.column_names == rows.column_names
    untagged = [c.name for c in contract.columns if c.pii is None and c.name != CUSTOMER] + ["_source"]
    for before, after in zip(rows.to_pylist(), once.to_pylist(), strict=True):
        assert {name: after[name] for name in untagged} == {name: before[name] for name in untagged}
        theirs = before["order_id"] == "o1" or before.get(CUSTOMER) in {ADA, PSEUDONYM}
        if CUSTOMER in before:
            assert after[CUSTOMER] == (PSEUDONYM if before[CUSTOMER] == ADA else before[CUSTOMER])
        for column in (column for column in contract.columns if column.pii):
            if theirs:
                assert after[column.name] is None or (not column.nullable and after[column.name].startswith(ERASED))
                assert (after[column.name] is None) == (column.nullable or before[column.name] is None)
            elif column.pii != "device":
                assert after[column.name] == before[column.name]
        if "extra" in before:
            assert after["extra"] == (None if theirs or before["extra"] in {ADA, EMAIL, BROWSER} else before["extra"])


def test_the_clock_of_the_register_does_not_matter(erased: Erased, tmp_path: Path) -> None:
    later = erase_ada(tmp_path, begun_at=datetime(2030, 1, 1, tzinfo=UTC))
    rows = pa.Table.from_pylist([person(ADA)])
    assert anonymised(rows, CONTRACTS["customers"], replace(erased, register=later)).equals(
        anonymised(rows, CONTRACTS["customers"], erased)
    )
