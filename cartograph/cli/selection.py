"""What `--select` means over all code locations: Dagster resolves a selection in the graph of one of them.

Here it is resolved once, in the one graph that they make together: a `+` goes on beyond their border, either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from pydantic import BaseModel


class Chosen(BaseModel):
    """The assets that a selection holds of each job, by the job's name."""

    assets: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Chosen | None:
        """What was written there; None where nothing has been yet."""
        return cls.model_validate_json(path.read_bytes()) if path.is_file() else None

    def write(self, path: Path) -> None:
        """Say it to the other processes of a run, at once: they look at any moment."""
        aside = path.with_suffix(".new")
        aside.write_text(self.model_dump_json(), encoding="utf-8")
        aside.replace(path)


def choose(text: str, locations: Sequence[tuple[dg.Definitions, Sequence[str]]]) -> Chosen:
    """The assets that the selection `text` holds, for the named jobs of each of `locations`.

    What one step makes together is chosen together. A name that no asset has selects nothing, bare (`nonsense`) as in
    a key (`key:nonsense`).
    """
    graph = together(definitions.resolve_asset_graph() for definitions, _ in locations)
    selection = dg.AssetSelection.from_string(text).required_multi_asset_neighbors()
    held = selection.resolve(graph, allow_missing=True)
    jobs = [definitions.resolve_job_def(name) for definitions, names in locations for name in names]
    return Chosen(
        assets={
            job.name: sorted(key.to_user_string() for key in job.asset_layer.asset_graph.executable_asset_keys & held)
            for job in jobs
        }
    )


def together(graphs: Iterable[AssetGraph]) -> AssetGraph:
    """One graph of several: an asset that one of them makes, and others only read, is that one's."""
    definitions = [one for graph in graphs for one in graph.assets_defs]
    taken: set[dg.AssetKey] = set()
    kept = []
    for one in sorted(definitions, key=lambda one: not one.is_executable):
        if not one.keys or not taken.issuperset(one.keys):
            kept.append(one)
            taken |= one.keys
    return AssetGraph.from_assets(kept)
