"""What a code location's alerts are about: its assets, checks and jobs, and the form in which they are observed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

import dagster as dg

from cartograph.alerts.messages import Severity, Signal


class Watched(NamedTuple):
    """What one code location answers for: its assets with their owners, their checks, its jobs with what each makes,
    and who owns those.

    Assets stand after those that they are made of; `upstream` has all of these, however far. `staleness` is how bad it
    is when some were not made in time.
    """

    owners: Mapping[dg.AssetKey, str]
    upstream: Mapping[dg.AssetKey, Set[dg.AssetKey]]
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition[str]]
    checks: tuple[dg.AssetCheckKey, ...]
    jobs: Mapping[str, Set[dg.AssetKey]]
    team: str
    staleness: Severity


class Observations(NamedTuple):
    """Signals in the order in which they were found, and up to where each source was observed."""

    signals: list[Signal]
    positions: dict[str, str]


def watched(repository: dg.RepositoryDefinition, team: str, staleness: Severity) -> Watched:
    """What the code location of `repository` answers for; `team` owns its jobs, and assets that name no owner."""
    graph = repository.asset_graph
    nodes = {key: graph.get(key) for key in graph.toposorted_asset_keys if key in graph.materializable_asset_keys}
    return Watched(
        owners={key: next(iter(node.owners), team) for key, node in nodes.items()},
        upstream={key: graph.get_ancestor_asset_keys(key) for key in nodes},
        partitions={key: node.partitions_def for key, node in nodes.items() if node.partitions_def is not None},
        checks=tuple(sorted(key for key in graph.asset_check_keys if key.asset_key in nodes)),
        jobs={job.name: job.asset_layer.selected_asset_keys for job in repository.get_all_jobs()},
        team=team,
        staleness=staleness,
    )
