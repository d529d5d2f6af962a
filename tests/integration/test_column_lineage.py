"""Each column of the warehouse is followed back to the source through what Dagster stored."""

from __future__ import annotations

import pytest

from cartograph.shops import load_shop
from ecom_assets.warehouse.dbt_project import parsed_project, read_manifest
from tests.support.column_lineage import ColumnLineage
from tests.support.whole_run import Bench

WITHOUT_ORIGIN = {
    # Numbers of rows, which are made of no column, and what is reckoned from them alone.
    "int_payments_summed": {"attempts_count"},
    "int_refunds_summed": {"refunds_count"},
    "fct_orders": {"line_count"},
    "fct_sessions": {"event_count", "is_bounce"},
    "agg_daily_sales": {"orders_count"},
    "discount_impact": {"orders_count"},
    "payment_mix": {"attempts_count"},
    "sales_by_geography": {"orders_count"},
    "agg_customer_metrics": {"events_count", "reviews_count"},
    "customer_product_interactions": {"purchases_90d"},
    "campaign_performance": {"sessions_count", "orders_count", "conversion_rate"},
    "conversion_funnel": {"sessions_count", "bounces_count", "bounce_rate"},
    "category_funnel": {"view_sessions_count", "purchase_sessions_count", "conversion_rate"},
    "market_basket_rules": {
        "orders_count",
        "antecedent_orders_count",
        "consequent_orders_count",
        "baskets_count",
        "support",
        "confidence",
        "lift",
    },
    # Constants.
    "channel_attribution": {"method"},
    # A calendar: each column is reckoned from a row of a series of days.
    "dim_dates": {
        "date_day",
        "calendar_year",
        "calendar_quarter",
        "calendar_month",
        "month_start_date",
        "month_name",
        "iso_week",
        "day_of_year",
        "day_of_month",
        "day_of_week",
        "day_name",
        "is_weekend",
        "fiscal_year",
        "fiscal_quarter",
        "fiscal_month",
    },
    "weekday_sales": {"day_of_week", "hour_of_day", "day_name", "days_count", "orders_count", "average_orders"},
    "customer_cohorts": {"activity_month", "cohort_size", "orders_count"},
}
"""The columns of each model that lead to no source, exactly: counts of rows and constants. A new one belongs here, with
the model, if it is one of these; if it is made of columns, its SQL hides from dbt's parser what it is made of."""


@pytest.fixture(scope="module")
def lineage(small_shop: tuple[Bench, str]) -> ColumnLineage:
    return ColumnLineage(small_shop[0].settings)


@pytest.fixture(scope="module")
def models(small_shop: tuple[Bench, str]) -> dict[str, tuple[str, set[str]]]:
    """The layer and the described columns of each model that the shop has."""
    settings = small_shop[0].settings
    nodes = read_manifest(parsed_project(settings, load_shop(settings).datasets))["nodes"].values()
    return {n["name"]: (n["fqn"][1], set(n["columns"])) for n in nodes if n["resource_type"] == "model"}


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


def test_every_model_and_mart_has_the_lineage_of_all_its_columns(
    lineage: ColumnLineage, models: dict[str, tuple[str, set[str]]]
) -> None:
    assets = {f"{layer}/{name}": columns for name, (layer, columns) in models.items()}
    assets |= {f"published/{name}": columns for name, (layer, columns) in models.items() if layer == "marts"}
    assert {asset: set(lineage.deps.get(asset, ())) for asset in assets} == assets


def test_every_column_but_counts_and_constants_leads_to_the_source(
    lineage: ColumnLineage, models: dict[str, tuple[str, set[str]]]
) -> None:
    for shown_in_marts_as in ("marts", "published"):
        lost: dict[str, set[str]] = {}
        for name, (layer, columns) in models.items():
            asset = f"{shown_in_marts_as if layer == 'marts' else layer}/{name}"
            for column in columns:
                origins = lineage.origins((asset, column))
                if not any(origin.startswith(("source/", "seeds/")) for origin, _ in origins):
                    lost.setdefault(name, set()).add(column)
        assert lost == WITHOUT_ORIGIN


def test_staging_takes_each_column_from_its_dataset(
    lineage: ColumnLineage, models: dict[str, tuple[str, set[str]]]
) -> None:
    staged = {name: columns for name, (layer, columns) in models.items() if layer == "staging"}
    assert len(staged) == 12
    for name, columns in staged.items():
        dataset = name.removeprefix("stg_shop__")
        for column in columns:
            above = {asset for asset, _ in lineage.deps[f"staging/{name}"][column]}
            assert above == {f"raw/{dataset}"}, f"{name}.{column}"
