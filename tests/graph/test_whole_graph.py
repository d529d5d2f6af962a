"""The asset graph of both code locations: one connected lineage, each asset named, owned and described by the rules."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap

import ecom_assets.definitions
import ml_assets.definitions
from api.services.refusals import CHECK
from cartograph.alerts.runbook import RUNBOOK, SECTIONS, WAREHOUSE
from cartograph.cli.jobs import LOCATIONS
from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.asset_graph import behind, read_graph
from cartograph.trust.states import FAILED_PARTITIONS, STALE
from ecom_assets.warehouse.dbt_project import parsed_project, read_manifest

SNAPSHOT = Path(__file__).with_name("asset_graph.txt")
LAYERS = {
    "source",
    "raw",
    "quarantine",
    "truth",
    "seeds",
    "staging",
    "intermediate",
    "marts",
    "published",
    "quality",
    "features",
    "models",
    "predictions",
    "monitoring",
    "causal",
    "experiments",
    "serving",
}
LAYERS_OF_THE_WAREHOUSE = {"staging", "intermediate", "marts", "published", "quality"}


@lru_cache(maxsize=1)
def graphs() -> tuple[dg.AssetGraph, dg.AssetGraph]:
    locations = (ecom_assets.definitions, ml_assets.definitions)
    return tuple(location.defs().resolve_asset_graph() for location in locations)  # type: ignore[return-value]


def specs() -> list[dg.AssetSpec]:
    """Of all assets, but for those that stand in one location for the other's."""
    return [
        node.to_asset_spec()
        for graph in graphs()
        for node in graph.asset_nodes
        if node.is_materializable or node.group_name == "source"
    ]


@pytest.mark.parametrize("location", [ecom_assets.definitions, ml_assets.definitions])
def test_a_location_can_be_told_to_the_daemon_which_runs_its_sensors(location: ModuleType) -> None:
    """As text, as a code server sends it; of what cannot be read there the daemon hears nothing at all."""
    told = dg.serialize_value(RepositorySnap.from_def(location.defs().get_repository_def()))
    assert "CheckWarned" not in re.findall(r'"__class__": ?"(\w+)"', told), "the daemon does not know it"
    sensors = dg.deserialize_value(told, RepositorySnap).sensors
    assert {"warehouse_alerts_sensor", "ml_alerts_sensor"} & {sensor.name for sensor in sensors}


def test_both_locations_form_one_connected_lineage_from_source_to_release() -> None:
    neighbours: dict[dg.AssetKey, set[dg.AssetKey]] = defaultdict(set)
    parents: dict[dg.AssetKey, set[dg.AssetKey]] = defaultdict(set)
    for spec in specs():
        for dep in spec.deps:
            parents[spec.key].add(dep.asset_key)
            neighbours[spec.key].add(dep.asset_key)
            neighbours[dep.asset_key].add(spec.key)
    ancestors, queue = set(), [dg.AssetKey(["serving", "release"])]
    while queue:
        key = queue.pop()
        ancestors.add(key)
        queue.extend(parents[key] - ancestors)
    assert {dg.AssetKey(["raw", name]) for name in ("customers", "orders", "order_items", "events")} <= ancestors
    assert dg.AssetKey(["source", "simulator"]) in ancestors
    planted = {spec.key for spec in specs() if spec.key.path[0] == "truth"}
    assert not planted & ancestors, "nothing may read the truth"
    reached, queue = set(), [dg.AssetKey(["serving", "release"])]
    while queue:
        key = queue.pop()
        reached.add(key)
        queue.extend(neighbours[key] - reached)
    assert {spec.key for spec in specs()} == reached


def test_the_stages_of_a_run_make_each_asset_once_and_after_what_it_is_made_of() -> None:
    (location,) = (one for one in LOCATIONS if one.module == ml_assets.definitions.__name__)
    definitions = ml_assets.definitions.defs()
    graph = definitions.resolve_asset_graph()

    def of_job(name: str) -> set[dg.AssetKey]:
        return set(definitions.resolve_job_def(name).asset_layer.executable_asset_keys)

    made: set[dg.AssetKey] = set()
    for stage in location.stages:
        before = set(made)
        for job in map(of_job, stage):
            early = {key: graph.get(key).parent_keys & graph.executable_asset_keys - job - before for key in job}
            assert {key: parents for key, parents in early.items() if parents} == {}
            assert not made & job
            made |= job
    assert made == of_job("ml_job") == graph.executable_asset_keys


def is_by_the_rules(spec: dg.AssetSpec) -> bool:
    """Layer, name, owner, kind and description as `docs/naming.md` has them."""
    layer, *name = spec.key.path
    return bool(
        layer in LAYERS
        and spec.group_name == layer
        and len(name) == 1
        and re.fullmatch(r"[a-z][a-z0-9_]*", name[0])
        and spec.owners
        and all(owner.startswith("team:") for owner in spec.owners)
        and spec.kinds
        and re.match(r"[A-Z].*\.", spec.description or "", re.DOTALL)
    )


def test_each_asset_follows_the_rules() -> None:
    assert [spec.key.to_user_string() for spec in specs() if not is_by_the_rules(spec)] == []


def test_the_exposures_name_what_the_other_location_reads_of_the_warehouse() -> None:
    settings = get_settings()
    exposures = read_manifest(parsed_project(settings, load_shop(settings).datasets))["exposures"].values()
    exposed = {
        unique_id.rsplit(".", 1)[1]
        for exposure in exposures
        if exposure["type"] in {"ml", "application"}
        for unique_id in exposure["depends_on"]["nodes"]
    }
    deps = {dep.asset_key for spec in specs() if spec.key.path[0] not in LAYERS_OF_THE_WAREHOUSE for dep in spec.deps}
    assert exposed == {key.path[-1] for key in deps if key.path[0] == "published"}
    assert all(exposure["owner"]["name"] for exposure in exposures)


def test_a_run_of_the_graph_alone_writes_all_of_it() -> None:
    """By what is written the gate knows what must hold: a part of it would let everything else through."""
    job = ecom_assets.definitions.defs().resolve_job_def("warehouse_job")
    assert job.execute_in_process(asset_selection=[dg.AssetKey(["quality", "asset_graph"])]).success
    written = {asset.key: asset for asset in read_graph(Lake.from_settings(get_settings()))}
    graph = graphs()[0]
    assert written.keys() == {key.to_user_string() for key in graph.get_all_asset_keys()}
    for key in graph.get_all_asset_keys():
        asset = written[key.to_user_string()]
        assert set(asset.upstream) == {parent.to_user_string() for parent in graph.get(key).parent_keys}
        assert asset.checks.keys() == {check.name for check in graph.get(key).check_keys}


def test_checks_have_plain_names() -> None:
    names = [key.name for graph in graphs() for key in graph.asset_check_keys]
    assert len(names) > 100
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []


EXPOSED = "nobody_is_exposed_before"
"""A check that an experiment has whose file names an event of exposure, as none of the simulated shop does."""


def test_the_runbook_has_a_section_for_each_check() -> None:
    runbook = Path(__file__).parents[2] / RUNBOOK
    headings = set(re.findall(r"^## (.+)$", runbook.read_text(encoding="utf-8"), re.MULTILINE))
    assert headings == SECTIONS | {WAREHOUSE}
    of_dbt = {"seeds", "staging", "intermediate", "marts"}
    names = {key.name for graph in graphs() for key in graph.asset_check_keys if key.asset_key.path[0] not in of_dbt}
    assert names - SECTIONS == set()
    assert SECTIONS - names == {"run", "override", "test", STALE, FAILED_PARTITIONS, EXPOSED, CHECK}


def test_the_graph_is_as_reviewed() -> None:
    lines = [
        f"{spec.key.to_user_string()} <- {', '.join(sorted(d.asset_key.to_user_string() for d in spec.deps)) or '-'}"
        for spec in specs()
    ]
    drawn = "\n".join(sorted(lines)) + "\n"
    assert drawn == SNAPSHOT.read_text(encoding="utf-8"), (
        f"The asset graph has changed. If that is meant, write this into {SNAPSHOT.name}:\n{drawn}"
    )


def test_each_published_asset_knows_what_is_behind_it_and_must_hold() -> None:
    warehouse = ecom_assets.definitions.defs().resolve_all_asset_specs()
    published = {spec.key.path[-1]: behind(spec) for spec in warehouse if spec.key.path[0] == "published"}
    assert len(published) > 30
    checks = {name: {check for asset in assets for check in asset.checks} for name, assets in published.items()}
    assert [name for name, known in checks.items() if not known] == []
    assert "values_are_usual" in checks["inventory_status"]
    assert "raw/events" not in {asset.key for asset in published["inventory_status"]}
    views = {asset.key.split("/")[0] for assets in published.values() for asset in assets if asset.is_view}
    tables = {asset.key.split("/")[0] for assets in published.values() for asset in assets if not asset.is_view}
    assert views == {"staging", "intermediate"}, "they hold no rows of their own"
    assert {"marts", "raw"} <= tables
    assert "staging" not in tables
