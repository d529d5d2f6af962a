"""Identification by a graph: what to hold fixed, what never to, and why there is nothing that helps."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.causal.graph import Graph, GraphError, identify


def graph(*edges: str, latent: tuple[str, ...] = ()) -> Graph:
    return Graph(tuple(tuple(edge.split(">")) for edge in edges), "t", "y", latent)


def asked(of: Graph, *observed: str):
    return identify(of, of.treatment, of.outcome, observed)


def test_a_confounder_is_held_fixed_and_its_shadow_is_not_needed():
    found = asked(graph("w>t", "w>y", "t>y", "v>w"), "w", "v")
    assert found.adjustment == ("w",)
    assert "holding w fixed closes every path from t to y" in found.reason


def test_a_randomised_treatment_needs_nothing():
    assert asked(graph("t>y", "x>y"), "x").adjustment == ()


def test_an_unrecorded_common_cause_is_named_with_its_path():
    found = asked(graph("w>t", "w>y", "t>y", "hunch>t", "hunch>y", latent=("hunch",)), "w")
    assert found.adjustment is None
    assert found.reason == "the path t ← hunch → y stays open, because hunch is not recorded"


def test_a_confounder_that_is_in_the_graph_and_not_in_the_data_is_unrecorded_too():
    assert "because w is not recorded" in asked(graph("w>t", "w>y", "t>y")).reason


def test_a_record_between_a_hidden_cause_and_the_outcome_closes_its_path():
    assert asked(graph("u>t", "u>w", "w>y", "t>y", latent=("u",)), "w").adjustment == ("w",)


@pytest.mark.parametrize(
    ("edges", "role"),
    [
        (("t>x", "x>y", "t>y"), "mediator"),
        (("t>x", "t>y"), "post-treatment"),
        (("t>x", "y>x", "t>y"), "post-treatment"),
        (("x>t", "t>y"), "instrument"),
        (("a>t", "a>x", "b>x", "b>y", "t>y"), "collider"),
    ],
)
def test_what_is_no_confounder_is_refused_by_its_role(edges, role):
    found = asked(graph(*edges), "x")
    assert found.refused == {"x": role}
    assert found.adjustment == ()


def test_a_graph_without_an_effect_has_none_to_ask_for():
    assert "t does not cause y" in asked(graph("x>t", "x>y"), "x").reason


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (graph("t>y", "y>x", "x>t"), "The graph goes in a circle: .* Take one of the edges out"),
        (graph("x>y"), "no node t; it has x, y"),
        (graph("t>y", latent=("u",)), "u is latent and in no edge"),
    ],
)
def test_a_graph_that_cannot_be_used_says_why(of, message):
    with pytest.raises(GraphError, match=message):
        asked(of)


NODES = ("a", "b", "c", "t", "y", "z")


@settings(max_examples=60)
@given(
    order=st.permutations(NODES),
    drawn=st.lists(st.booleans(), min_size=15, max_size=15),
    hidden=st.sets(st.sampled_from("abc")),
)
def test_the_columns_found_are_a_fewest_set_that_separates_and_none_is_missed(order, drawn, hidden):
    """Held against all subsets, by the definition of the back-door criterion."""
    edges = [pair for pair, is_there in zip(combinations(order, 2), drawn, strict=True) if is_there]
    dag = nx.DiGraph([*edges, ("t", "y")])
    if not nx.is_directed_acyclic_graph(dag):
        return
    observed = {name for name in dag if name not in hidden} - {"t", "y"}
    found = identify(Graph(tuple(dag.edges), "t", "y", tuple(hidden & set(dag))), "t", "y", observed)
    doors = dag.copy()
    doors.remove_edges_from(list(dag.out_edges("t")))
    usable = observed - nx.descendants(dag, "t")
    works = [
        set(some)
        for size in range(len(usable) + 1)
        for some in combinations(sorted(usable), size)
        if nx.is_d_separator(doors, {"t"}, {"y"}, set(some))
    ]
    assert (found.adjustment is not None) == bool(works)
    if found.adjustment is not None:
        assert set(found.adjustment) in works
        assert not any(some < set(found.adjustment) for some in works)
