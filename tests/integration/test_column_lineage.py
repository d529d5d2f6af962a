"""A column of a published mart is followed back to the source through what Dagster stored."""

from __future__ import annotations

import pytest

from tests.support.column_lineage import ColumnLineage
from tests.support.whole_run import Bench

CALENDAR = "published/dim_dates"
"""Made from a range of days: only the day itself comes from anywhere."""
COUNTS = {"frequency", "frequency_score", "average_orders"}
"""Numbers of rows, which are made of no column; so is each `*_count`."""
CALENDAR_COLUMNS = {"day_of_week", "day_name", "hour_of_day"}


@pytest.fixture(scope="module")
def lineage(small_shop: tuple[Bench, str]) -> ColumnLineage:
    return ColumnLineage(small_shop[0].settings)


def test_an_email_leads_from_the_published_dimension_to_the_source(lineage: ColumnLineage) -> None:
    column, way = ("published/dim_customers", "email"), []
    while column[0] in lineage.deps:
        way.append(column)
        (column,) = lineage.deps[column[0]][column[1]]
    assert way == [
        ("published/dim_customers", "email"),
        ("marts/dim_customers", "email"),
        ("intermediate/int_customers_versioned", "email"),
        ("staging/stg_shop__customers", "email"),
        ("raw/customers", "email"),
    ]
    assert column == ("source/simulator", "email")


def test_every_published_column_that_is_no_count_leads_to_the_source(lineage: ColumnLineage) -> None:
    published = {asset: columns for asset, columns in lineage.deps.items() if asset.startswith("published/")}
    assert len(published) >= 10
    lost = {
        (asset, column): sorted(lineage.origins((asset, column)))
        for asset, columns in published.items()
        if asset != CALENDAR
        for column in columns
        if column not in COUNTS | CALENDAR_COLUMNS
        and not column.endswith("_count")
        and not any(origin.startswith("source/") for origin, _ in lineage.origins((asset, column)))
    }
    assert lost == {}
