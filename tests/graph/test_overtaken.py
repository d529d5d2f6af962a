"""A run of which half was published is told by the half that was not; one of which nothing was is not told."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from cartograph.trust.asset_graph import GuardedAsset
from cartograph.trust.overtaken import overtaken

MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")
COPIES = [
    GuardedAsset("published/orders", ("marts/orders",), {}),
    GuardedAsset("published/refunds", ("marts/refunds",), {}),
    GuardedAsset("published/products", ("marts/products",), {}),
]
BY_MONTH = ("orders", "refunds")


def asset(key: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=key.split("/"),
        partitions_def=MONTHS if key.split("/")[1] in BY_MONTH else None,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def _asset() -> None:
        """Of no rows."""

    return _asset


class Shop:
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def run(self, *keys: str, first: str = "2024-01-01", last: str = "2024-03-01") -> None:
        """Make the assets in one run, in the months from `first` to `last`."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        definitions = dg.Definitions(assets=[asset(key) for key in keys])
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=self.instance, tags=tags).success

    def made_by(self, key: str) -> str | None:
        """The run that made an asset last."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        return event.run_id if event else None

    @property
    def told(self) -> frozenset[str]:
        return overtaken(self.instance, COPIES)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        shop = Shop(instance)
        shop.run("marts/orders", "marts/refunds", "marts/products")
        shop.run("published/orders", "published/refunds", "published/products")
        assert shop.told == frozenset()
        yield shop


def test_a_run_of_which_nothing_was_published_leaves_what_was_published_as_it_was(shop: Shop) -> None:
    shop.run("marts/orders", "marts/refunds", "marts/products")
    assert shop.told == frozenset()


def test_one_of_which_some_was_published_is_told_by_what_was_not(shop: Shop) -> None:
    shop.run("marts/orders", "marts/refunds", "marts/products")
    shop.run("published/orders")
    assert shop.told == {"published/refunds", "published/products"}
    shop.run("published/refunds", "published/products")
    assert shop.told == frozenset()


def test_of_a_run_that_somebody_deleted_nothing_is_told(shop: Shop) -> None:
    """Its materialisations are gone, and the asset still names the last."""
    shop.run("marts/orders", "marts/refunds", "marts/products")
    shop.run("published/orders")
    (run,) = [run for run in shop.instance.get_runs() if run.run_id == shop.made_by("marts/products")]
    shop.instance.delete_run(run.run_id)
    assert "published/products" not in shop.told


def test_a_month_that_was_published_later_says_nothing_of_the_others(shop: Shop) -> None:
    """As where a run over all months was refused, and the bad one was mended, made and published again."""
    shop.run("marts/orders", "marts/refunds")
    march = {"first": "2024-03-01", "last": "2024-03-01"}
    shop.run("marts/orders", "marts/refunds", **march)
    shop.run("published/orders", "published/refunds", **march)
    assert shop.told == frozenset()
    shop.run("published/orders", first="2024-02-01", last="2024-02-01")
    assert shop.told == {"published/orders", "published/refunds"}
