"""What the checks of a load say beyond its figures, with the severities that a shop has by default."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from cartograph.lake import Lake
from cartograph.settings import load_settings
from ecom_assets.components.load_checks import load_checks
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality.policy import DatasetPolicy
from ecom_assets.sources import Unreadable
from tests.unit.ingestion.making import JANUARY, SHOP, Rows, order, run


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.from_settings(load_settings(home=tmp_path))


def results(lake: Lake, source: Rows) -> dict[str, dg.AssetCheckResult]:
    report = run(lake, source, JANUARY)
    found = load_checks(report, lake, CONTRACTS["orders"], JANUARY, SHOP, 5.0, DatasetPolicy())
    return {str(result.check_name): result for result in found}


@pytest.mark.parametrize(
    ("lacks_column", "severity"), [(True, dg.AssetCheckSeverity.ERROR), (False, dg.AssetCheckSeverity.WARN)]
)
def test_a_file_without_a_column_is_an_error_and_a_broken_one_as_the_shop_has_it(
    lake: Lake, lacks_column: bool, severity: dg.AssetCheckSeverity
) -> None:
    left_out = Unreadable("may.csv", "it lacks a column", "Deliver it with the column", lacks_column)
    found = results(lake, Rows("orders", [order("a", 1)], (left_out,)))["everything_readable"]
    assert (found.passed, found.severity) == (False, severity)
    assert "may.csv: it lacks a column. Deliver it with the column" in str(found.description)


def test_what_has_no_history_yet_passes_and_says_so(lake: Lake) -> None:
    found = results(lake, Rows("orders", [order("a", 1)]))
    for check in ("volume_is_usual", "nulls_are_usual", "values_are_usual"):
        assert found[check].passed
        assert str(found[check].description).endswith("it cannot judge yet, with 29 of 42 days of history")


def test_many_unreadable_files_are_told_by_the_first_ten(lake: Lake) -> None:
    broken = tuple(Unreadable(f"{number:04}.csv", "it is empty", "Deliver it anew") for number in range(2_500))
    description = str(results(lake, Rows("orders", [order("a", 1)], broken))["everything_readable"].description)
    assert description.count("it is empty") == 10
    assert "0009.csv: it is empty. Deliver it anew; and 2,490 more" in description
