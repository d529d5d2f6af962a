"""Which as-of dates a run of some partitions makes anew."""

from __future__ import annotations

from datetime import date

import dagster as dg

from cartograph.cli.run import since_first
from cartograph.settings import Settings
from cartograph.windows import at_midnight, windows


def materialized(instance: dg.DagsterInstance, asset: str, *months: int) -> None:
    for month in months:
        key = dg.AssetKey(asset.split("/"))
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=f"2024-{month:02d}-01"))


def test_what_is_published_later_is_made_anew_and_what_a_killed_run_only_loaded_is_not() -> None:
    january = list(windows(at_midnight(date(2024, 1, 1)), at_midnight(date(2024, 2, 1)), "monthly"))
    with dg.DagsterInstance.ephemeral() as instance:
        materialized(instance, "raw/orders", 1, 2, 3, 4)
        materialized(instance, "published/fct_orders", 1, 2, 3)
        assert [window.key for window in since_first(instance, Settings(), january)] == [
            "2024-01-01",
            "2024-02-01",
            "2024-03-01",
        ]


def test_the_chosen_windows_are_made_where_nothing_is_published() -> None:
    chosen = list(windows(at_midnight(date(2024, 2, 1)), at_midnight(date(2024, 4, 1)), "monthly"))
    with dg.DagsterInstance.ephemeral() as instance:
        materialized(instance, "raw/orders", 1, 2, 3, 4)
        assert since_first(instance, Settings(), chosen) == chosen
