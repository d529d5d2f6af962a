"""The dbt seed of public holidays, as the `holidays` library knows them; `make docs` writes it, a test holds it true.

Only which holidays there are. What a holiday means for a day of the warehouse is in `dim_dates`.
"""

from __future__ import annotations

import csv
import io

import holidays

from ecom_assets.warehouse.dbt_project import PROJECT_DIR

SEED = PROJECT_DIR / "seeds" / "holidays.csv"
COUNTRIES = (
    "AE", "AT", "AU", "BE", "BH", "BR", "CA", "CH", "CN", "CY", "CZ", "DE", "DK", "ES", "FI", "FR", "GB", "GR",
    "HK", "IE", "IL", "IN", "IS", "IT", "JP", "KR", "LB", "LT", "MT", "MX", "NL", "NO", "PL", "PT", "SA", "SE",
    "SG", "TR", "US", "ZA",
)  # fmt: skip
"""Where the shops of this repository sell to, and the big markets, by ISO 3166 code."""
YEARS = range(2010, 2036)


def seed() -> str:
    """The seed as CSV: a row for each country and day that is a public holiday in the whole country."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("country_code", "holiday_date", "holiday_name"))
    for country in COUNTRIES:
        for day, name in sorted(holidays.country_holidays(country, years=YEARS, language=_language(country)).items()):
            writer.writerow((country, day.isoformat(), name))
    return written.getvalue()


def _language(country: str) -> str | None:
    """English where the library has it, so that names can be compared between countries."""
    spoken = holidays.country_holidays(country).supported_languages
    return next((language for language in ("en_US", "en_GB") if language in spoken), None)


if __name__ == "__main__":
    SEED.write_text(seed(), encoding="utf-8")
