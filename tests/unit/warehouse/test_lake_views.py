"""The views through which dbt reads the lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cartograph.contracts import DUCKDB_TYPES, with_provenance
from cartograph.lake import Lake
from ecom_assets.contracts import CONTRACTS
from ecom_assets.warehouse.lake_views import create_views, pinned_views, read_views, write_views
from tests.unit.warehouse.making import append, make_customer, tiny_shop


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(tiny_shop(tmp_path))


def test_views_show_the_pinned_snapshot_and_not_what_came_later(lake: Lake, tmp_path: Path) -> None:
    append(lake, "customers", make_customer("c1"))
    views = pinned_views(lake, {"customers"})
    append(lake, "customers", make_customer("c2"))
    write_views(views, tmp_path / "dbt" / "views.json")

    with lake.connect() as connection:
        create_views(connection, read_views(tmp_path / "dbt" / "views.json"))
        assert connection.execute("SELECT customer_id FROM raw.customers").fetchall() == [("c1",)]
        create_views(connection, pinned_views(lake, {"customers"}))
        assert connection.execute("SELECT count(*) FROM raw.customers").fetchall() == [(2,)]


@pytest.mark.parametrize("dataset", CONTRACTS)
def test_a_dataset_that_was_never_loaded_has_an_empty_view_of_its_contract(lake: Lake, dataset: str) -> None:
    views = pinned_views(lake, {dataset})
    assert views.pins == {}
    with lake.connect() as connection:
        create_views(connection, views)
        described = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE raw.{dataset})").fetchall()
        assert connection.execute(f"SELECT * FROM raw.{dataset}").fetchall() == []
        assert connection.execute(f"SELECT * FROM quarantine.{dataset}").fetchall() == []
    columns = with_provenance(CONTRACTS[dataset]).columns
    kinds = [DUCKDB_TYPES[column.type].replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for column in columns]
    assert described == [(column.name, kind) for column, kind in zip(columns, kinds, strict=True)]


def test_views_of_datasets_that_the_shop_stopped_delivering_are_dropped(lake: Lake) -> None:
    append(lake, "customers", make_customer())
    with lake.connect() as connection:
        create_views(connection, pinned_views(lake, {"customers", "reviews"}))
        create_views(connection, pinned_views(lake, {"customers"}))
        with pytest.raises(duckdb.CatalogException):
            connection.execute("SELECT * FROM raw.reviews")
