"""What a release needs to explain a model: taken from the exported model itself, and from rows that it predicts for.

The trees are read out of the ONNX graph, and believed only where they give the probabilities that the graph gives. How
a prediction is then split among the features is `trees` and `turns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.models import Explainer, TreeNodes
from ml_assets.core.models.export import PARITY, predict

ROWS = 2_000
"""More rows to tell by how many go each way at a node would not show in a contribution, and cost time."""
MOST_LEAVES = 20_000
"""Larger forests, as random ones of unlimited depth, are explained by turns: their leaves take a second a row."""

_HIGHEST = float(np.finfo(np.float32).max)

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


class Graph(NamedTuple):
    """The trees of an ONNX graph, with a share of 1 for each node, and what the graph puts in the place of nulls."""

    nodes: dict[str, list[Any]]
    roots: list[int]
    fill: npt.NDArray[np.float32] | None


def explainer(content: bytes, names: Sequence[str], matrix: Matrix) -> Explainer:
    """The explainer of the exported classifier `content`, which takes `names`, for such rows as those of `matrix`.

    With trees where the classifier's log-odds are a multiple of what its trees add, on these rows within `PARITY` of
    its probabilities, and else a reference alone.

    Raises:
        ValueError: there is no row.
    """
    if not len(matrix):
        raise ValueError(f"a model of {', '.join(names)} needs rows to be explained by")
    rows = matrix[np.linspace(0, len(matrix) - 1, min(ROWS, len(matrix))).astype(np.intp)]
    reference = typical(rows)
    found = _graph(content)
    if found is None:
        return Explainer(features=tuple(names), reference=reference)
    filled = rows if found.fill is None else np.where(np.isnan(rows), found.fill, rows)
    at, visits = _walk(found, filled)
    margins = np.array(found.nodes["value"])[at].sum(axis=1)
    fitted = _line(margins, predict(content, rows))
    if fitted is None:
        return Explainer(features=tuple(names), reference=reference)
    scale, offset = fitted
    return Explainer(
        features=tuple(names),
        reference=reference,
        scale=scale,
        offset=offset,
        trees=TreeNodes(**{**found.nodes, "share": _shares(found, visits)}, roots=found.roots),
    )


def typical(matrix: npt.NDArray[Any]) -> tuple[float | None, ...]:
    """The median of each column, None where most rows have null: of an even number of rows the lower one."""
    missing = np.isnan(matrix).mean(axis=0) > 0.5
    filled = np.where(missing, 0.0, matrix)
    middle = np.nanpercentile(filled, 50, axis=0, method="lower")
    return tuple(None if none else float(value) for none, value in zip(missing, middle, strict=True))


def _graph(content: bytes) -> Graph | None:
    """The trees of the graph; None where it has none that are read so, or too many."""
    import onnx
    from onnx.helper import get_attribute_value

    graph = onnx.load_from_string(content).graph
    fill = None
    for node in graph.node:
        attributes = {one.name: get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Imputer":
            fill = np.array(attributes["imputed_value_floats"], dtype=np.float32)
        elif node.op_type == "TreeEnsembleClassifier":
            return _trees(attributes, fill)
        else:
            return None
    return None


def _trees(attributes: dict[str, Any], fill: npt.NDArray[np.float32] | None) -> Graph | None:
    modes = [mode.decode() for mode in attributes["nodes_modes"]]
    if set(modes) - {"BRANCH_LEQ", "LEAF"} or modes.count("LEAF") > MOST_LEAVES:
        return None
    keys = list(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True))
    known = {key: position for position, key in enumerate(keys)}
    is_leaf = [mode == "LEAF" for mode in modes]
    # Of two classes the graph has a weight of each leaf for the second alone, called 0, or one for either.
    second = max(attributes["class_ids"])
    value = [0.0] * len(keys)
    weights = zip(
        attributes["class_treeids"], attributes["class_nodeids"], attributes["class_ids"], attributes["class_weights"],
        strict=True,
    )  # fmt: skip
    for tree, node, of, weight in weights:
        if of == second:
            value[known[tree, node]] += weight
    tracks = attributes.get("nodes_missing_value_tracks_true") or [0] * len(keys)
    left = [
        0 if leaf else known[key[0], child]
        for leaf, key, child in zip(is_leaf, keys, attributes["nodes_truenodeids"], strict=True)
    ]
    right = [
        0 if leaf else known[key[0], child]
        for leaf, key, child in zip(is_leaf, keys, attributes["nodes_falsenodeids"], strict=True)
    ]
    children = {child for at, leaf in enumerate(is_leaf) if not leaf for child in (left[at], right[at])}
    features = attributes["nodes_featureids"]
    # A null takes the way of its feature's fill, where the graph has one.
    null_left = [
        not leaf and bool(track if fill is None else fill[feature] <= threshold)
        for leaf, track, feature, threshold in zip(is_leaf, tracks, features, attributes["nodes_values"], strict=True)
    ]
    nodes: dict[str, list[Any]] = {
        "feature": [None if leaf else int(feature) for leaf, feature in zip(is_leaf, features, strict=True)],
        # A threshold that parts null from all else is infinite, which JSON cannot say.
        "threshold": [min(float(threshold), _HIGHEST) for threshold in attributes["nodes_values"]],
        "left": left,
        "right": right,
        "null_left": null_left,
        "value": value,
    }
    return _ordered(nodes, [at for at in range(len(keys)) if at not in children], fill)


def _ordered(nodes: dict[str, list[Any]], roots: list[int], fill: npt.NDArray[np.float32] | None) -> Graph:
    """The same trees, each node before its children."""
    order: list[int] = []
    level = roots
    while level:
        order += level
        level = [
            child
            for at in level
            if nodes["feature"][at] is not None
            for child in (nodes["left"][at], nodes["right"][at])
        ]
    place = {at: position for position, at in enumerate(order)}
    moved = {name: [values[at] for at in order] for name, values in nodes.items()}
    for side in ("left", "right"):
        moved[side] = [
            0 if feature is None else place[child] for feature, child in zip(moved["feature"], moved[side], strict=True)
        ]
    return Graph(moved, list(range(len(roots))), fill)


def _walk(found: Graph, rows: Matrix) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """The leaf of each row in each tree, and how many rows come to each node."""
    nodes = found.nodes
    is_leaf = np.array([feature is None for feature in nodes["feature"]])
    asked = np.array([feature or 0 for feature in nodes["feature"]])
    threshold = np.array(nodes["threshold"])
    left, right, null_left = (np.array(nodes[name]) for name in ("left", "right", "null_left"))
    at = np.tile(np.array(found.roots), (len(rows), 1))
    visits = np.bincount(at.ravel(), minlength=len(is_leaf))
    moving = ~is_leaf[at]
    while moving.any():
        who, _ = np.nonzero(moving)
        here = at[moving]
        values = rows[who, asked[here]]
        goes_left = np.where(np.isnan(values), null_left[here], values <= threshold[here])
        reached = np.where(goes_left, left[here], right[here])
        visits += np.bincount(reached, minlength=len(is_leaf))
        at[moving] = reached
        moving = ~is_leaf[at]
    return at, visits


def _shares(found: Graph, visits: npt.NDArray[np.int64]) -> list[float]:
    """The share of rows at each node, with one more row in each leaf, so that no way is impossible."""
    nodes = found.nodes
    rows = visits.astype(np.float64)
    added = np.zeros(len(rows))
    root = np.zeros(len(rows), dtype=np.intp)
    root[found.roots] = found.roots
    for at, feature in enumerate(nodes["feature"]):
        if feature is not None:
            root[nodes["left"][at]] = root[nodes["right"][at]] = root[at]
    for at in reversed(range(len(rows))):
        is_leaf = nodes["feature"][at] is None
        added[at] = 1 if is_leaf else added[nodes["left"][at]] + added[nodes["right"][at]]
    rows += added
    return (rows / rows[root]).tolist()  # type: ignore[no-any-return]


def _line(margins: Vector, probabilities: Vector) -> tuple[float, float] | None:
    """Scale and offset by which the log-odds follow the margins; None where they do not."""
    inside = (probabilities > 1e-4) & (probabilities < 1 - 1e-4)
    if len(np.unique(margins[inside])) < 2:
        return None
    within = probabilities[inside]
    # Probabilities are float32: an error of theirs weighs most on log-odds far from 0.
    scale, offset = np.polyfit(margins[inside], np.log(within / (1 - within)), 1, w=within * (1 - within))
    followed = 1 / (1 + np.exp(-np.clip(scale * margins + offset, -700, 700)))
    return (float(scale), float(offset)) if np.abs(followed - probabilities).max() <= PARITY else None
