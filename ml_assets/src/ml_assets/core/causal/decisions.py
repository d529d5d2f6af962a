"""Whom a released policy treats: numpy over the plain nodes of its tree, so that the API needs no more to answer.

How a policy is learned is `policy`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.causal import PolicyNode, PolicyRule

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def leaves(rule: PolicyRule, rows: Matrix) -> Places:
    """The place in `rule.nodes` of the leaf that each row comes to; columns are in the order of `rule.features`.

    NaN stands for null.

    Raises:
        ValueError: there are more or fewer columns than features.
    """
    if rows.ndim != 2 or rows.shape[1] != len(rule.features):
        wanted = ", ".join(feature.name for feature in rule.features) or "no features"
        raise ValueError(f"the rows must have a column for each of {wanted}, and have the shape {rows.shape}")
    column = {feature.name: place for place, feature in enumerate(rule.features)}
    filled = np.where(np.isnan(rows), [feature.missing for feature in rule.features], rows)
    places = np.zeros(len(rows), dtype=np.int64)
    for at, node in enumerate(rule.nodes):  # a node comes before its children
        if node.feature is None or node.threshold is None or node.left is None or node.right is None:
            continue
        here = places == at
        goes_left = filled[here, column[node.feature]] <= node.threshold
        places[here] = np.where(goes_left, node.left, node.right)
    return places


def treats(rule: PolicyRule, rows: Matrix) -> npt.NDArray[np.bool_]:
    """Whether each row is to be treated."""
    found: npt.NDArray[np.bool_] = np.array([node.treats for node in rule.nodes])[leaves(rule, rows)]
    return found


def leaf_of(rule: PolicyRule, values: Mapping[str, float | None]) -> tuple[PolicyNode, Sequence[str]]:
    """The leaf of one row by its values, and what led there in words, e.g. `recency_days > 45`.

    Raises:
        ValueError: a feature of the policy is missing in `values`; None is a null.
    """
    missing = [feature.name for feature in rule.features if feature.name not in values]
    if missing:
        raise ValueError(f"give {', '.join(missing)}: the policy asks for it (null where it is not known)")
    known = {feature.name: values[feature.name] for feature in rule.features}
    filled = {f.name: f.missing if (value := known[f.name]) is None else value for f in rule.features}
    node, path = rule.nodes[0], []
    while node.feature is not None and node.left is not None and node.right is not None and node.threshold is not None:
        goes_left = filled[node.feature] <= node.threshold
        path.append(f"{node.feature} {'<=' if goes_left else '>'} {node.threshold:g}")
        node = rule.nodes[node.left if goes_left else node.right]
    return node, path
