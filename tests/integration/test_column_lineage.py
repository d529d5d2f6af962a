"""A column of a published mart is followed back to the source through what Dagster stored."""

from __future__ import annotations

import pytest

from tests.support.column_lineage import ColumnLineage
from tests.support.whole_run import Bench

CALENDAR = "published/dim_dates"
"""Made from a range of days: only the day itself comes from anywhere."""
COUNTS = {"orders_count", "line_count", "frequency", "frequency_score"}
"""Numbers of rows, which are made of no column."""


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
        if column not in COUNTS
        and not any(origin.startswith("source/") for origin, _ in lineage.origins((asset, column)))
    }
    assert lost == {}
