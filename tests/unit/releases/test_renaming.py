"""Customers of a release get other ids, and the file stays one that the API reads."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.files import CUSTOMERS, GOLDEN, RECOMMENDATIONS
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.tables import (
    CUSTOMER_COLUMNS,
    RECOMMENDATION_COLUMNS,
    open_customers,
    open_lists,
    write_customers,
    write_lists,
)
from cartograph.releases.renaming import rename_customers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    columns = {"customer_id": ["C1", "C2", "C3"], "as_of": [date(2026, 1, 1)] * 3, "orders": [1, 2, 3]}
    empty = {name: pa.nulls(3, kind) for name, kind in CUSTOMER_COLUMNS.items()}
    write_customers(tmp_path / CUSTOMERS, pa.table({**empty, **columns}))
    return tmp_path


def test_a_customer_gets_another_id_and_keeps_the_rest(folder: Path) -> None:
    assert rename_customers(folder, {"C1": "erased-1", "C9": "erased-9"})
    customers = open_customers(folder / CUSTOMERS)
    found = dict(zip(customers["customer_id"].to_pylist(), customers["orders"].to_pylist(), strict=True))
    assert found == {"C2": 2, "C3": 3, "erased-1": 1}
    assert [path.name for path in folder.iterdir()] == [CUSTOMERS]


def test_recommendations_follow_the_customer(folder: Path) -> None:
    row = {"model_version": "1", "product_ids": ["P1"], "scores": [1.0], "sources": ["history"]}
    rows = [{"customer_id": customer, **row, "because_product_ids": [None]} for customer in ("C1", "C2", "C3")]
    lists = pa.Table.from_pylist(rows, pa.schema(list(RECOMMENDATION_COLUMNS.items())))
    write_lists(folder / RECOMMENDATIONS, lists, RECOMMENDATION_COLUMNS)
    assert rename_customers(folder, {"C1": "erased-1"})
    found = open_lists(folder / RECOMMENDATIONS, RECOMMENDATION_COLUMNS)
    assert found["customer_id"].to_pylist() == ["C2", "C3", "erased-1"]
    assert found["product_ids"].to_pylist() == [["P1"]] * 3
    assert {path.name for path in folder.iterdir()} == {CUSTOMERS, RECOMMENDATIONS}


def test_golden_requests_follow_the_customer(folder: Path) -> None:
    asked = GoldenRequest(
        name="a customer",
        path="/v1/customers/C1/recommendations?limit=5",
        answer={"customer_id": "C1", "list": ["C10"]},
    )
    (folder / GOLDEN).write_text(Golden(requests=(asked,)).model_dump_json())
    assert rename_customers(folder, {"C1": "erased-1"})
    (found,) = Golden.model_validate_json((folder / GOLDEN).read_bytes()).requests
    assert found.path == "/v1/customers/erased-1/recommendations?limit=5"
    assert found.answer == {"customer_id": "erased-1", "list": ["C10"]}


def test_without_such_a_customer_nothing_is_written(folder: Path) -> None:
    before = (folder / CUSTOMERS).stat()
    assert not rename_customers(folder, {"C9": "erased-9"})
    after = (folder / CUSTOMERS).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_two_customers_do_not_become_one(folder: Path) -> None:
    with pytest.raises(ContentError, match="each customer once"):
        rename_customers(folder, {"C1": "C2"})
