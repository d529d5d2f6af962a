"""The asset graph as data: what each asset is made of, and which checks guard it.

A code location cannot see the checks of the other one, and a run does not see what it leaves out. So a location tells
its whole graph to the asset that asks for it (`with_graph`), and writes it into the lake (`write_graph`), where the
other location finds it (`read_graph`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue

from cartograph.contracts import Column, Contract

if TYPE_CHECKING:  # importing the lake takes 2 seconds, which loading a graph should not take
    from cartograph.lake import Lake

TABLE = "quality.asset_graph"
CONTRACT = Contract(
    dataset="asset_graph",
    grain="An asset.",
    key=("asset_key",),
    columns=(
        Column(name="asset_key", type="string", description="The asset: `published/fct_orders`."),
        Column(name="upstream", type="string", description="The assets that it is made of; a JSON list."),
        Column(
            name="checks",
            type="string",
            description="Its checks, and whether each blocks what is downstream; a JSON object.",
        ),
        Column(
            name="looks_up",
            type="string",
            nullable=True,
            description="Those of `upstream` of which a partition reads other partitions; a JSON list.",
        ),
    ),
)
LOOKS_UP = "cartograph/looks_up"
"""The metadata of an asset that names those of its upstream assets of which a partition reads other partitions."""
_GRAPH, _BEHIND = "cartograph/graph", "cartograph/behind"
_MATERIALIZATION = "dagster-dbt/materialization_type"


@dataclass(frozen=True)
class GuardedAsset:
    """An asset, the assets that it is made of, and its checks with whether they block what is downstream.

    A view holds no rows: who reads it reads what it is made of. Of what is read from the lake none is known as one.
    A partition reads the same partition of what is `upstream`, and all of those that it `looks_up`.
    """

    key: str
    upstream: tuple[str, ...]
    checks: Mapping[str, bool]
    is_view: bool = False
    looks_up: tuple[str, ...] = ()


@dataclass(frozen=True)
class Behind:
    """The assets of a location by key, for those of them that ask what they are made of; it stays in its process."""

    known: Mapping[str, GuardedAsset]


def with_graph(
    definitions: dg.Definitions, told: dg.AssetKey, asking: dg.AssetSelection | None = None
) -> dg.Definitions:
    """The definitions; the metadata of the asset `told` holds the whole graph and its checks.

    A run knows the graph only as far as it takes part in it. The assets `asking` learn from `assets_behind` what is
    behind them; their metadata names the graph and does not hold it, which would be as long for each.
    """
    checks: dict[dg.AssetKey, dict[str, bool]] = {}
    for definition in (*(definitions.assets or ()), *(definitions.asset_checks or ())):
        if isinstance(definition, dg.AssetsDefinition):  # a definition of checks alone is one, too
            for spec in definition.check_specs:
                checks.setdefault(spec.asset_key, {})[spec.name] = spec.blocking
    graph = [
        {
            "key": spec.key.to_user_string(),
            "upstream": sorted({dep.asset_key.to_user_string() for dep in spec.deps}),
            "checks": dict(sorted(checks.get(spec.key, {}).items())),
            "is_view": spec.metadata.get(_MATERIALIZATION) == "view",
            "looks_up": list(spec.metadata.get(LOOKS_UP, ())),
        }
        for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key)
    ]
    definitions = definitions.map_resolved_asset_specs(
        func=lambda spec: spec.merge_attributes(metadata={_GRAPH: dg.MetadataValue.json(graph)}),
        selection=dg.AssetSelection.assets(told),
    )
    if asking is None:
        return definitions
    known = ObjectMetadataValue(Behind({asset.key: asset for asset in map(_guarded, graph)}))
    return definitions.map_resolved_asset_specs(
        func=lambda spec: spec.merge_attributes(metadata={_BEHIND: known}), selection=asking
    )


def guarded_assets(context: dg.AssetExecutionContext) -> list[GuardedAsset]:
    """The whole graph of the location as `with_graph` told it to the asset that `context` is of, by key."""
    graph = context.assets_def.specs_by_key[context.asset_key].metadata[_GRAPH].value
    return [_guarded(asset) for asset in graph]


def assets_behind(context: dg.AssetExecutionContext) -> list[GuardedAsset]:
    """The assets of this location that the one that `context` is of is made of, directly or not.

    None of an asset outside its location, which was told nothing.
    """
    return behind(context.assets_def.specs_by_key[context.asset_key])


def behind(spec: dg.AssetSpec) -> list[GuardedAsset]:
    """As `assets_behind`, of the asset of `spec`."""
    told = spec.metadata.get(_BEHIND)
    if not isinstance(told, ObjectMetadataValue) or not isinstance(told.instance, Behind):
        return []
    known = told.instance.known
    return ancestry(known, known[spec.key.to_user_string()].upstream)


def _guarded(asset: Mapping[str, Any]) -> GuardedAsset:
    return GuardedAsset(
        asset["key"], tuple(asset["upstream"]), asset["checks"], asset["is_view"], tuple(asset["looks_up"])
    )


def ancestry(known: Mapping[str, GuardedAsset], of: Collection[str]) -> list[GuardedAsset]:
    """The `known` assets with the keys `of` and those that they are made of, directly or not; by key."""
    waiting, found = list(of), dict[str, GuardedAsset]()
    while waiting:
        key = waiting.pop()
        if key in known and key not in found:
            found[key] = known[key]
            waiting.extend(known[key].upstream)
    return [found[key] for key in sorted(found)]


def write_graph(lake: Lake, assets: Iterable[GuardedAsset]) -> None:
    """Keep `assets` in the lake in place of those that it has."""
    rows = [
        {
            "asset_key": asset.key,
            "upstream": json.dumps(asset.upstream),
            "checks": json.dumps(dict(asset.checks)),
            "looks_up": json.dumps(asset.looks_up),
        }
        for asset in assets
    ]
    lake.ensure(TABLE, CONTRACT, None)
    with lake.overwriting(TABLE, None) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema()))


def read_graph(lake: Lake) -> list[GuardedAsset]:
    """The assets that `write_graph` wrote.

    Raises:
        TableMissing: it never did.
    """
    rows = lake.batches(TABLE).read_all().to_pylist()
    return [
        GuardedAsset(
            row["asset_key"],
            tuple(json.loads(row["upstream"])),
            json.loads(row["checks"]),
            looks_up=tuple(json.loads(row.get("looks_up") or "[]")),  # an older version wrote none
        )
        for row in rows
    ]
