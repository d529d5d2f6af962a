"""Loads the definitions of code location 2 for a shop of the test's own, and runs its job in this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.trust.asset_graph import GuardedAsset, write_graph

SHOP = """
title: A planted shop
currency: EUR
start: 2024-01-01
{end}
sources:
  - type: tests.Source
    datasets: [{datasets}]
"""
CHECK = "rows_match_mart"
EVERYTHING = ("customers", "products", "orders", "order_items", "events", "campaigns", "inventory")
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def forget_location() -> None:
    """Make the next import of the location read the settings anew."""
    get_settings.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("ml_assets.defs", "ml_assets.definitions"))]:
        del sys.modules[name]


def load_location(
    patch: pytest.MonkeyPatch,
    folder: Path,
    *,
    datasets: Sequence[str] = EVERYTHING,
    end: str | None = "2025-10-02",
    grain: str = "monthly",
) -> dg.Definitions:
    """The definitions for a shop with these datasets, whose home is in `folder`; call `forget_location` afterwards."""
    shops = folder / "shops"
    shops.mkdir(exist_ok=True)
    content = SHOP.format(datasets=", ".join(datasets), end=f"end: {end}" if end else "")
    (shops / "planted.yaml").write_text(content, encoding="utf-8")
    patch.chdir(folder)
    patch.setenv("CARTOGRAPH_HOME", str(folder / "home"))
    patch.setenv("CARTOGRAPH_SHOP", "planted")
    patch.setenv("CARTOGRAPH_SHOPS_DIR", str(shops))
    patch.setenv("CARTOGRAPH_PARTITION_GRAIN", grain)
    forget_location()
    return importlib.import_module("ml_assets.definitions").defs()


@contextmanager
def location_in(
    folder: Path, *, datasets: Sequence[str] = EVERYTHING, environment: Mapping[str, Path] = MappingProxyType({})
) -> Iterator[tuple[dg.Definitions, dg.DagsterInstance]]:
    """The definitions for a shop with these datasets, and an instance for them, in `folder`, until the block ends."""
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        for name, path in environment.items():
            patch.setenv(name, str(path))
        yield load_location(patch, folder, datasets=datasets), instance
    forget_location()


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey(text.split("/"))


def guard(instance: dg.DagsterInstance, lake: Lake, *marts: str) -> None:
    """Say of published marts what the other location says of them: they are there, and their check passed."""
    write_graph(lake, [GuardedAsset(f"published/{mart}", (), {CHECK: True}) for mart in marts])
    for mart in marts:
        record_made(instance, f"published/{mart}")
        report_check(instance, mart, passed=True)


def record_made(instance: dg.DagsterInstance, asset_key: str, partition: str | None = None) -> None:
    """Record a materialisation of an asset of the other location."""
    instance.report_runless_asset_event(dg.AssetMaterialization(key(asset_key), partition=partition))


def report_check(instance: dg.DagsterInstance, mart: str, *, passed: bool) -> None:
    """Record a result of a published mart's check, found on its latest materialisation."""
    report_result(instance, f"published/{mart}", CHECK, passed=passed)


def report_result(instance: dg.DagsterInstance, asset_key: str, check: str, *, passed: bool) -> None:
    """Record a result of a blocking check, found on the asset's latest materialisation."""
    asset = key(asset_key)
    (record,) = instance.get_asset_records([asset])
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.asset_entry.last_materialization_storage_id,
        run_id=record.asset_entry.last_materialization.run_id,
        timestamp=record.asset_entry.last_materialization.timestamp,
    )
    result = dg.AssetCheckEvaluation(asset, check, passed, {}, target, dg.AssetCheckSeverity.ERROR, None, True)
    instance.report_runless_asset_event(result)


def run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *assets: str, dates: tuple[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """Run `ml_job`, or some assets of it with their checks, for all as-of dates or a range of them."""
    features = definitions.resolve_asset_graph().get(key("features/customer_features"))
    keys = features.partitions_def.get_partition_keys()
    first, last = dates or (keys[0], keys[-1])
    return definitions.resolve_job_def("ml_job").execute_in_process(
        instance=instance,
        asset_selection=[key(asset) for asset in assets] or None,
        tags={RANGE[0]: first, RANGE[1]: last},
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    """What a failed step says to the user; the test fails where it is a traceback instead."""
    (event,) = [event for event in result.all_events if event.is_step_failure and event.step_key == step]
    assert event.step_failure_data.user_failure_data is not None, event.step_failure_data.error
    return event.step_failure_data.user_failure_data.description


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
