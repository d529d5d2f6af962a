"""What `--select` means over both code locations: Dagster resolves a selection in the graph of one of them.

An open-ended `+` goes on beyond the border: what it reached in the first location stands, by its keys, in the second as
well, and what is downstream of these there is reached, too. Nothing else of a selection changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.asset_selection import (
    ChainedAssetSelection,
    DownstreamAssetSelection,
    KeyWildCardAssetSelection,
    OperandListAssetSelection,
    OrAssetSelection,
    SubtractAssetSelection,
)
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster_shared.record import replace

Reached = Sequence[Sequence[str]]
"""The keys that each open-ended `+` of a selection reached, in the order in which they are resolved."""


class Chosen(NamedTuple):
    """The assets of a location that a selection holds, what its `+` reached, and whether no other location has more."""

    keys: set[dg.AssetKey]
    reached: list[list[str]]
    is_complete: bool


def choose(text: str, graph: BaseAssetGraph[Any], reached: Reached = ()) -> Chosen:
    """Resolve the selection `text` in a location's `graph`, after it `reached` keys in the location before."""
    parsed, own = dg.AssetSelection.from_string(text), list[list[str]]()
    keys = set(_over_the_border(parsed, graph, iter(reached), own).resolve(graph))
    return Chosen(keys, own, _names_only_assets_of(graph, parsed))


def _over_the_border(
    selection: dg.AssetSelection, graph: BaseAssetGraph[Any], before: Iterator[Sequence[str]], own: list[list[str]]
) -> dg.AssetSelection:
    """`selection` with each open-ended `+` going on from what it reached `before`; `own` takes what it reaches now."""
    if isinstance(selection, OperandListAssetSelection):
        return replace(selection, operands=[_over_the_border(o, graph, before, own) for o in selection.operands])
    if isinstance(selection, SubtractAssetSelection):
        left, right = (_over_the_border(part, graph, before, own) for part in (selection.left, selection.right))
        return replace(selection, left=left, right=right)
    if not isinstance(selection, ChainedAssetSelection):
        return selection
    selection = replace(selection, child=_over_the_border(selection.child, graph, before, own))
    if not isinstance(selection, DownstreamAssetSelection) or selection.depth is not None:
        return selection
    known = graph.get_all_asset_keys() & {dg.AssetKey.from_user_string(key) for key in next(before, ())}
    further = selection | dg.AssetSelection.assets(*sorted(known)).downstream() if known else selection
    own.append(sorted(key.to_user_string() for key in further.resolve(graph)))
    return further


def _names_only_assets_of(graph: BaseAssetGraph[Any], selection: dg.AssetSelection) -> bool:
    """Whether a selection is nothing but names of assets that are made in this location."""
    if isinstance(selection, OrAssetSelection):
        return all(_names_only_assets_of(graph, operand) for operand in selection.operands)
    if not isinstance(selection, KeyWildCardAssetSelection):
        return False
    name = selection.selected_key_wildcard
    return "*" not in name and dg.AssetKey.from_user_string(name) in graph.executable_asset_keys
