"""Which recorded columns make a comparison fair, by a graph of what causes what; and if none do, why.

The back-door criterion (Pearl 2009, chapter 3) by d-separation. What the columns hold is `study`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

Role = Literal["mediator", "post-treatment", "collider", "instrument"]
WHY = {
    "mediator": "the treatment acts through it, so holding it fixed would hide a part of the effect",
    "post-treatment": "the treatment changes it, so holding it fixed would compare what is not alike",
    "collider": "holding it fixed would open a path between treatment and outcome that is closed",
    "instrument": "it moves the treatment only, so holding it fixed adds noise and magnifies hidden confounding",
}
"""Why a column of each role is no confounder."""
IS = {
    "mediator": "a mediator",
    "post-treatment": "an effect of the treatment",
    "collider": "a collider",
    "instrument": "an instrument",
}
"""What a column of each role is, in words."""


class GraphError(ValueError):
    """The graph is none of causes and effects, or lacks what is asked about. The message says what and the cure."""


@dataclass(frozen=True)
class Graph:
    """Who causes whom: `edges` from cause to effect. `latent` names the nodes that nobody has recorded."""

    edges: tuple[tuple[str, str], ...]
    treatment: str
    outcome: str
    latent: tuple[str, ...] = ()


class Identification(NamedTuple):
    """The recorded columns to hold fixed, the fewest that do; or None and, in words, why there are none.

    `refused` has the columns that are no confounders, and why.
    """

    adjustment: tuple[str, ...] | None
    reason: str
    refused: Mapping[str, Role]


def identify(graph: Graph, treatment: str, outcome: str, observed: Iterable[str]) -> Identification:
    """Whether holding recorded columns fixed closes every back-door path from `treatment` to `outcome`, and which.

    Raises:
        GraphError: the graph has a cycle, or lacks the treatment or the outcome.
    """
    import networkx as nx

    dag = _dag(graph, treatment, outcome)
    recorded = {name for name in observed if name in dag and name not in graph.latent} - {treatment, outcome}
    if outcome not in nx.descendants(dag, treatment):
        return Identification(None, f"in the graph {treatment} does not cause {outcome}: there is no effect to ask", {})
    after = nx.descendants(dag, treatment)
    doors = dag.copy()
    doors.remove_edges_from(list(dag.out_edges(treatment)))
    refused: dict[str, Role] = {
        name: "mediator" if outcome in nx.descendants(dag, name) else "post-treatment" for name in recorded & after
    }
    causes = nx.ancestors(doors, treatment) | nx.ancestors(doors, outcome)
    fewest = nx.find_minimal_d_separator(doors, {treatment}, {outcome}, restricted=(recorded - after) & causes)
    if fewest is None:
        return Identification(None, _why_not(doors, treatment, outcome, recorded - after, graph), refused)
    for name in sorted(recorded - after - fewest):
        if not nx.is_d_separator(doors, {treatment}, {outcome}, fewest | {name}):
            refused[name] = "collider"
        elif treatment in nx.descendants(doors, name) and nx.is_d_separator(doors, {name}, {outcome}, fewest):
            refused[name] = "instrument"
    kept = ", ".join(sorted(fewest)) or "nothing"
    reason = f"holding {kept} fixed closes every path from {treatment} to {outcome} but those of the effect itself"
    return Identification(tuple(sorted(fewest)), reason, refused)


def _dag(graph: Graph, treatment: str, outcome: str) -> Any:
    import networkx as nx

    dag = nx.DiGraph(graph.edges)
    if missing := [name for name in (treatment, outcome) if name not in dag]:
        raise GraphError(f"The graph has no node {missing[0]}; it has {', '.join(sorted(dag))}. Add an edge with it.")
    if strange := [name for name in graph.latent if name not in dag]:
        raise GraphError(f"{strange[0]} is latent and in no edge of the graph. Say what it causes, or take it out.")
    if not nx.is_directed_acyclic_graph(dag):
        cycle = [start for start, _ in nx.find_cycle(dag)]
        raise GraphError(f"The graph goes in a circle: {' → '.join([*cycle, cycle[0]])}. Take one of the edges out.")
    return dag


def _why_not(doors: Any, treatment: str, outcome: str, usable: set[str], graph: Graph) -> str:
    """The open back-door path with the fewest nodes that cannot be closed, and what on it is not recorded."""
    import networkx as nx

    paths = nx.all_simple_paths(doors.to_undirected(as_view=True), treatment, outcome, cutoff=8)
    for path in sorted(paths, key=len):
        inner = path[1:-1]
        collides = any(
            doors.has_edge(before, here) and doors.has_edge(behind, here)
            for before, here, behind in zip(path, inner, path[2:], strict=False)
        )
        if not collides and not usable & set(inner):
            told = path[0]
            for one, other in pairwise(path):
                told += f" {'→' if doors.has_edge(one, other) else '←'} {other}"
            hidden = [name for name in inner if name in graph.latent] or inner
            return f"the path {told} stays open, because {', '.join(hidden) or 'nothing on it'} is not recorded"
    return "the recorded columns that would close one path open another"
