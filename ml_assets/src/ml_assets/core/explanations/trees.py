"""Shapley values of a prediction by trees, exactly: TreeSHAP of Lundberg et al. (2020), "From local explanations to
global understanding with explainable AI for trees", with the shares of rows that go each way at a node.

A leaf reached through k different features adds a product over these: whether the row goes its way, or where the
feature is not known, the share of rows that do. The Shapley value of a product is an integral over [0, 1] of a
polynomial of degree k - 1, which Gauss and Legendre's rule with k / 2 points gives exactly (Yu et al. 2022, "Linear
TreeShap", use the same polynomial). So it is plain arithmetic on arrays of leaves. Other models are `turns`' business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.models import TreeNodes

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]


class Leaves(NamedTuple):
    """The leaves of all trees, by leaf and by the different features on its way, filled up with ways of no effect.

    A row goes a leaf's way at a feature where its value is above `low` and at most `high`, or null and `null` is true;
    `share` is the part of the rows that do. `value` is what the leaf adds, and `base` what rows get on average.
    """

    feature: npt.NDArray[np.intp]
    low: Matrix
    high: Matrix
    null: npt.NDArray[np.bool_]
    share: Matrix
    value: Vector
    width: int
    points: Vector
    weights: Vector
    base: float


def leaves(nodes: TreeNodes, width: int) -> Leaves:
    """The leaves of the trees of a model that takes `width` features."""
    ways: list[dict[int, tuple[float, float, bool, float]]] = [{} for _ in nodes.feature]
    for at, feature in enumerate(nodes.feature):
        if feature is None:
            continue
        low, high, null, share = ways[at].get(feature, (-np.inf, np.inf, True, 1.0))
        threshold, left, right = nodes.threshold[at], nodes.left[at], nodes.right[at]
        goes_left, part = nodes.null_left[at], nodes.share[left] / nodes.share[at]
        below = (low, min(high, threshold), null and goes_left, share * part)
        above = (max(low, threshold), high, null and not goes_left, share * (nodes.share[right] / nodes.share[at]))
        ways[left] = {**ways[at], feature: below}
        ways[right] = {**ways[at], feature: above}
    ends = [at for at, feature in enumerate(nodes.feature) if feature is None]
    depth = max(1, *(len(ways[at]) for at in ends))
    shape = (len(ends), depth)
    made = (np.zeros(shape, np.intp), np.full(shape, -np.inf), np.full(shape, np.inf), np.ones(shape, bool))
    shares = np.ones(shape)
    for row, at in enumerate(ends):
        for column, (asked, (low, high, null, share)) in enumerate(ways[at].items()):
            for array, entry in zip((*made, shares), (asked, low, high, null, share), strict=True):
                array[row, column] = entry
    points, weights = np.polynomial.legendre.leggauss((depth + 1) // 2)
    value = np.array([nodes.value[at] for at in ends])
    base = float(value @ shares.prod(axis=1))
    return Leaves(*made, shares, value, width, (points + 1) / 2, weights / 2, base)


def margin(trees: Leaves, row: Rows) -> float:
    """What the leaves add for a row of features, of shape [k]."""
    return float(trees.value @ _goes(trees, row).all(axis=1))


def contributions(trees: Leaves, row: Rows) -> Vector:
    """By how much each feature of the row, of shape [k], moves what the leaves add away from `base`; their sum is all.

    NaN is null.
    """
    goes = _goes(trees, row).astype(np.float64)
    moved = goes - trees.share
    # Above 0, as the points lie within (0, 1) and no share is 0: so a factor can be divided out of the product.
    factors = trees.share + moved * trees.points[:, None, None]
    others = (trees.weights[:, None] * factors.prod(axis=2))[:, :, None] / factors
    each = trees.value[:, None] * moved * others.sum(axis=0)
    split: Vector = np.bincount(trees.feature.ravel(), each.ravel(), minlength=trees.width).astype(np.float64)
    return split


def _goes(trees: Leaves, row: Rows) -> npt.NDArray[np.bool_]:
    asked = row[trees.feature]
    goes: npt.NDArray[np.bool_] = np.where(np.isnan(asked), trees.null, (asked > trees.low) & (asked <= trees.high))
    return goes
