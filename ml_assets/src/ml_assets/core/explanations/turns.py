"""Shapley values of any prediction against a reference row: features take their turn from the reference's value to
the row's, and each is credited with what its turn changes, on average over the orders of turns (Štrumbelj and Kononenko
2014, "Explaining prediction models and individual predictions with feature contributions").

Of few features all orders are taken, by their subsets, which is exact; of more, `ORDERS` fixed random ones and their
reverses, whose contributions add up to the prediction all the same, and which are exact where features add up without
interactions, as in a logistic regression. Trees have a better way: `trees`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]

FEW = 6
"""Up to so many features all subsets are taken: 64 predictions."""
ORDERS = 32
"""Of more features, so many random orders and their reverses, which halve the error of the same number of draws."""
SEED = 17


def contributions(predict: Callable[[Rows], Vector], reference: Rows, row: Rows) -> Vector:
    """By how much each feature of `row` moves the prediction away from that of `reference`; both of shape [k].

    `predict` takes rows of shape [n, k] and gives a number for each.
    """
    width = len(row)
    return _of_subsets(predict, reference, row) if width <= FEW else _of_orders(predict, reference, row)


def _of_subsets(predict: Callable[[Rows], Vector], reference: Rows, row: Rows) -> Vector:
    width = len(row)
    masks = np.arange(2**width)
    has = (masks[:, None] >> np.arange(width)) & 1 == 1
    predicted = predict(np.where(has, row, reference))
    sizes = has.sum(axis=1)
    weight = np.array([factorial(size) * factorial(width - size - 1) for size in range(width)]) / factorial(width)
    split = np.empty(width)
    for feature in range(width):
        without = masks[~has[:, feature]]
        gained = predicted[without | 1 << feature] - predicted[without]
        split[feature] = weight[sizes[without]] @ gained
    return split


def _of_orders(predict: Callable[[Rows], Vector], reference: Rows, row: Rows) -> Vector:
    width, draw = len(row), np.random.default_rng(SEED)
    orders = np.array([draw.permutation(width) for _ in range(ORDERS)])
    orders = np.vstack([orders, orders[:, ::-1]])
    turn = np.argsort(orders, axis=1)
    # The row after n turns has the features whose turn is among the first n.
    has = turn[:, None, :] < np.arange(width + 1)[:, None]
    predicted = predict(np.where(has, row, reference).reshape(-1, width)).reshape(len(orders), width + 1)
    gained = np.diff(predicted, axis=1)
    split: Vector = np.take_along_axis(gained, turn, axis=1).mean(axis=0)
    return split
