"""The seed of public holidays: as the library has them now, and what is known of some."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

from ecom_assets.warehouse.holiday_seed import COUNTRIES, SEED, YEARS, seed


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(seed())))


def test_the_seed_is_what_the_library_gives() -> None:
    assert SEED.read_text(encoding="utf-8") == seed(), f"{SEED.name} is stale: run `make docs`"


def test_known_holidays_are_there_and_working_days_are_not() -> None:
    found = {(row["country_code"], row["holiday_date"]): row["holiday_name"] for row in rows()}
    assert found["DE", "2024-10-03"] == "German Unity Day"
    assert found["GB", "2010-12-27"].startswith("Christmas Day")
    assert found["US", "2025-11-27"] == "Thanksgiving Day"
    assert ("DE", "2024-10-04") not in found
    assert ("DE", "2024-07-04") not in found


def test_each_country_has_holidays_in_each_year_and_one_row_a_day() -> None:
    days = [(row["country_code"], row["holiday_date"]) for row in rows()]
    assert all(former < latter for former, latter in pairwise(days))
    assert {(country, day[:4]) for country, day in days} == {(c, str(year)) for c in COUNTRIES for year in YEARS}
    assert all(row["holiday_name"] for row in rows())
