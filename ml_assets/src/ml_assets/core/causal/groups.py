"""The effect in each group of rows that a modifier makes: in each of its values, or each quarter of an amount.

Group averages of doubly robust scores (Semenova and Chernozhukov 2021, Econometrics Journal 24), each with an interval
of its own. Whether effects differ by more than chance is the business of `heterogeneity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.finding import GroupEffect
from ml_assets.core.causal.level_estimators import Mask, Problem, Scores, interval, sizes_of, standard_error
from ml_assets.core.causal.study import Covariates, Vector, column_of

MOST_VALUES = 10
"""An amount of more values is cut into quarters."""
FEWEST_OF_ARM = 25
"""Rows, or clusters, of an arm in a group for its interval to be worth its name."""
QUARTERS = (0.25, 0.5, 0.75)
EMPTY = "empty"


class Group(NamedTuple):
    """Rows that share a value of a modifier, or a range of it."""

    modifier: str
    value: str
    rows: Mask


def groups_of(modifiers: Covariates) -> Iterator[Group]:
    """The groups of each modifier, in its order; each row is in one of them."""
    for column in dict.fromkeys(map(column_of, modifiers.names)):
        coded = [(name, place) for place, name in enumerate(modifiers.names) if column_of(name) == column]
        if coded == [(column, coded[0][1])]:
            yield from _of_amount(column, modifiers.values[:, coded[0][1]])
            continue
        columns = modifiers.values[:, [place for _, place in coded]] == 1
        yield Group(column, modifiers.baselines.get(column, "any other"), ~columns.any(axis=1))
        for (name, _), rows in zip(coded, columns.T, strict=True):
            yield Group(column, name.split("=", 1)[1], rows)


def _of_amount(column: str, values: Vector) -> Iterator[Group]:
    known = np.isfinite(values)
    found = np.unique(values[known])
    if len(found) <= MOST_VALUES:
        yield from (Group(column, f"{value:.6g}", values == value) for value in found)
    else:
        cuts = np.unique(np.quantile(values[known], QUARTERS, method="inverted_cdf"))
        cuts = cuts[cuts < found[-1]] if cuts[0] < found[-1] else found[-2:-1]
        places = np.searchsorted(cuts, values)
        names = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(cuts)]
        for place, name in enumerate([f"up to {cuts[0]:.6g}", *names, f"over {cuts[-1]:.6g}"]):
            yield Group(column, name, known & (places == place))
    if not known.all():
        yield Group(column, EMPTY, ~known)


def group_effects(
    modifiers: Covariates, problem: Problem, level: int, contrast: str, scores: Scores
) -> list[GroupEffect]:
    """The effect of a level in each group that has enough rows of it and of the control.

    Over the groups of a modifier the mean of the effects, weighted by the rows that are asked about, is the effect.
    """
    about = (problem.arms == level).astype(np.float64) if problem.estimand == "ATT" else np.ones(len(problem.arms))
    parts = about.mean() * scores.parts.influence + about * scores.estimate.ate
    pair = (problem.arms == 0) | (problem.arms == level)
    found = []
    for group in groups_of(modifiers):
        inside = group.rows & pair
        clusters = None if problem.clusters is None else problem.clusters[inside]
        sizes = sizes_of((problem.arms[inside] == level).astype(np.int64), clusters, 2)
        if min(sizes) < FEWEST_OF_ARM:
            continue
        asked = about[group.rows]
        effect = float(parts[group.rows].sum() / asked.sum())
        influence = (parts[group.rows] - asked * effect) / asked.mean()
        of_group = None if problem.clusters is None else problem.clusters[group.rows]
        told = interval(effect, standard_error(influence, of_group))
        found.append(GroupEffect(group.modifier, group.value, int(asked.sum()), contrast, told))
    return found
