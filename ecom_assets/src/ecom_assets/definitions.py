"""Code location 1: loads the defs folder and applies the policies that hold for the whole graph, nothing else."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.asset_graph import with_graph
from cartograph.trust.automation import on_request, when_trusted
from cartograph.trust.freshness import with_freshness

GRAPH_KEY = dg.AssetKey(["quality", "asset_graph"])
PROJECT_ROOT = Path(__file__).parents[2]
DEFS_FOLDER = Path(__file__).parent / "defs"


def load_folder() -> dg.Definitions:
    """What the defs folder defines.

    `dg.load_from_defs_folder` would also import every installed Dagster library, to list its components in the UI.
    """
    return dg.ComponentTree.for_project(PROJECT_ROOT).build_defs(DEFS_FOLDER)


@dg.definitions
def defs() -> dg.Definitions:
    """All assets, checks, jobs and schedules of the location."""
    in_process = dg.Definitions(executor=dg.in_process_executor)  # a process for each step would import for seconds
    definitions = dg.Definitions.merge(load_folder(), in_process).map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(automation_condition=when_trusted()),
        selection=dg.AssetSelection.all() - dg.AssetSelection.groups("source", "raw", "truth") - on_request(),
    )
    return with_graph(
        with_freshness(definitions, load_shop(get_settings())),
        told=GRAPH_KEY,
        asking=dg.AssetSelection.groups("published"),
    )
