"""The regression with levels of each group of rows: an estimator of its own, and the first step of the other.

It says which rows have an estimate at all. The arithmetic of levels is `ml_assets.core.causal.within`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.effects import GroupEffects, weights_of
from ml_assets.core.causal.continuous.shape import Shape
from ml_assets.core.causal.study import Matrix
from ml_assets.core.causal.within import Fit, NotEstimable, estimable, least_squares, poisson


def fitted(data: Data, shape: Shape) -> tuple[Data, Fit, GroupEffects]:
    """The rows of groups that have an estimate, the fit of all of them, and the regression's effects.

    Raises:
        NotEstimable: no group has one.
    """
    data = with_finite_levels(data, shape)
    fits: dict[int, tuple[Any, Fit]] = {}
    reason = NotEstimable("there are no rows")
    for group in np.unique(data.groups):
        mine = np.flatnonzero(data.groups == group)
        try:
            fits[int(group)] = mine, _regressed(data.of(mine), shape.link)
        except NotEstimable as error:
            reason = error
    if not fits:
        raise reason
    rows = np.sort(np.concatenate([mine for mine, _ in fits.values()]))
    mean, predictor = np.zeros(len(data.outcome)), np.zeros(len(data.outcome))
    for mine, fit in fits.values():
        mean[mine], predictor[mine] = fit.mean, fit.predictor
    codes = {group: place for place, group in enumerate(fits)}
    kept = data.of(rows)._replace(
        groups=np.array([codes[group] for group in data.groups[rows].tolist()], dtype=np.int64),
        names=tuple(data.names[group] for group in fits),
    )
    pilot = Fit(np.empty(0), np.empty((0, 0)), 0, mean[rows], predictor[rows])
    return kept, pilot, _joined([fit for _, fit in fits.values()], kept, shape)


def naive(data: Data, shape: Shape) -> GroupEffects:
    """The effect as it looks with nothing held fixed."""
    bare = data._replace(
        columns=data.columns[:, :1], confounders=np.empty((len(data.outcome), 0)), blocks=(), groupings=()
    )
    return grouped(bare, shape)


def grouped(data: Data, shape: Shape, column: int = 0) -> GroupEffects:
    """The regression of each group; `NotEstimable` where that of one is."""
    fits = [_regressed(data.of(data.groups == group), shape.link, column) for group in range(len(data.names))]
    return _joined(fits, data, shape)


def with_finite_levels(data: Data, shape: Shape) -> Data:
    """The rows whose levels are finite: with a log link not those of a group or level that sold nothing."""
    if shape.link != "log":
        return data
    return data.of(estimable(data.outcome, data.groups, *data.groupings))


def _regressed(data: Data, link: str, column: int = 0) -> Fit:
    """The regression of the outcome on all columns, with levels; the coefficient of `column` stands first."""
    levels = data.levels
    held = _independent(levels.centred(data.confounders, np.ones(len(data.outcome))))
    order = [column, *(place for place in range(data.columns.shape[1]) if place != column)]
    columns = np.column_stack([data.columns[:, order], data.confounders[:, held]])
    regress = poisson if link == "log" else least_squares
    return regress(data.outcome, columns, levels, data.clusters)


def _independent(columns: Matrix) -> Any:
    """The places of columns that none of the others tells."""
    from scipy.linalg import qr

    if columns.shape[1] == 0:
        return np.empty(0, dtype=np.int64)
    _, triangle, places = qr(columns / np.sqrt(len(columns)), mode="economic", pivoting=True)
    return np.sort(places[np.abs(np.diag(triangle)) > 1e-5])


def _joined(fits: list[Fit], data: Data, shape: Shape) -> GroupEffects:
    """The first coefficient of each group's fit."""
    return GroupEffects(
        effects=np.array([fit.coefficients[0] for fit in fits]),
        errors=np.sqrt([fit.covariance[0, 0] for fit in fits]),
        freedom=np.array([fit.clusters - 1.0 for fit in fits]),
        weights=weights_of(data, shape.link),
    )
