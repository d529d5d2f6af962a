"""Regressions with a level of its own for each unit and each period: what a panel of products by weeks needs.

Levels are swept out by alternating projections, so that thousands of them cost no columns. A Poisson regression takes
the outcome as it is: weeks without a sale stay in, where a logarithm would have none for them. Which rows and columns
go in, and what the coefficients are believed for, is the business of `continuous`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ml_assets.core.causal.study import Labels, Matrix, Vector

SWEEPS, SWEPT = 200, 1e-9
STEPS, CONVERGED = 60, 1e-8
LONGEST_STEP = 3.0
"""The most that a row's linear predictor may move in a step: the first steps of small levels overshoot."""


class NotEstimable(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """A regression has no finite answer. The message says why."""


class Fit(NamedTuple):
    """Coefficients, their covariance robust to dependence within clusters, and how many clusters there are.

    `mean` and `predictor` are the fitted mean of each row and, for a Poisson regression, its logarithm.
    """

    coefficients: Vector
    covariance: Matrix
    clusters: int
    mean: Vector
    predictor: Vector


class Levels:
    """Groupings of rows, each of whose groups has a level of its own; with none, one level for all rows."""

    def __init__(self, rows: int, *groupings: Labels) -> None:
        """Codes of `groupings` may be any whole numbers."""
        from scipy.sparse import csr_array

        self._members: list[Any] = []
        for grouping in groupings or (np.zeros(rows, dtype=np.int64),):
            codes = np.unique(grouping, return_inverse=True)[1].ravel()
            shape = (int(codes.max(initial=-1)) + 1, rows)
            self._members.append(csr_array((np.ones(rows), (codes, np.arange(rows))), shape=shape))

    def sums(self, values: Vector) -> list[Vector]:
        """The sum of `values` over each group, for each grouping."""
        return [members @ values for members in self._members]

    def centred(self, values: Matrix, weights: Vector) -> Matrix:
        """What is left of each column when every group's level is taken out, by weighted least squares.

        The method of alternating projections (Gaure 2013, Computational Statistics & Data Analysis 66).

        Raises:
            NotEstimable: the projections do not settle.
        """
        left = np.array(values, dtype=np.float64)
        scale = np.maximum(np.sqrt(np.average(left**2, axis=0, weights=weights)), 1e-300)
        totals = [members @ weights for members in self._members]
        for _ in range(SWEEPS):
            moved = np.zeros(left.shape[1])
            for members, total in zip(self._members, totals, strict=True):
                means = (members @ (left * weights[:, None])) / total[:, None]
                left -= members.T @ means
                moved = np.maximum(moved, np.abs(means).max(axis=0))
            if len(self._members) == 1 or (moved <= SWEPT * scale).all():
                return left
        raise NotEstimable(
            f"the levels of {len(self._members)} groupings cannot be told apart after {SWEEPS} sweeps: leave a "
            "grouping out, or join small groups"
        )


def estimable(outcome: Vector, *groupings: Labels) -> Any:
    """The rows of a Poisson regression whose levels are finite: each group has two rows and sells something.

    Rows of a group that sold nothing tell nothing about a slope, and its level would be minus infinity (Santos Silva
    and Tenreyro 2010, Economics Letters 107). Leaving some out can empty another group, so that it is repeated.
    """
    kept = np.ones(len(outcome), dtype=bool)
    while True:
        fine = kept.copy()
        for grouping in groupings:
            codes = np.unique(grouping, return_inverse=True)[1].ravel()
            total = np.bincount(codes, weights=np.where(kept, outcome, 0.0))
            fine &= (total > 0)[codes] & (np.bincount(codes, weights=kept)[codes] > 1)
        if fine.sum() == kept.sum():
            return kept
        kept = fine


def poisson(outcome: Vector, columns: Matrix, levels: Levels, clusters: Labels | None) -> Fit:
    """The pseudo-maximum-likelihood Poisson regression of `outcome` on `columns`, with levels.

    Consistent for a mean that is exponential in the columns, whatever the outcome's distribution: it need not be a
    count, may be 0, and even negative in single rows (Gourieroux, Monfort and Trognon 1984; Santos Silva and Tenreyro
    2006). By iterated least squares with the levels swept out in each step (Correia, Guimaraes and Zylkin 2020).

    Raises:
        NotEstimable: a group sold nothing, a column does not vary within the levels, or the steps do not settle.
    """
    if any((total <= 0).any() for total in levels.sums(outcome)):
        raise NotEstimable("the outcome of a whole group comes to nothing: leave out its rows (`estimable`)")
    mean = (np.maximum(outcome, 0.0) + outcome.mean()) / 2
    predictor: Vector = np.log(mean)
    for _ in range(STEPS):
        working = predictor + (outcome - mean) / mean
        left = levels.centred(np.column_stack([working, columns]), mean)
        coefficients = _solved(left[:, 1:], left[:, 0], mean)
        found = working - (left[:, 0] - left[:, 1:] @ coefficients)
        step = np.clip(found - predictor, -LONGEST_STEP, LONGEST_STEP)
        predictor = predictor + step
        mean = np.exp(predictor)
        if not np.isfinite(mean).all():
            break
        if float(np.sqrt(np.average(step**2, weights=mean))) < CONVERGED:
            inside = levels.centred(columns, mean)
            covariance, number = _sandwich(inside, mean, outcome - mean, clusters)
            return Fit(coefficients, covariance, number, mean, predictor)
    raise NotEstimable(f"the Poisson regression does not settle in {STEPS} steps: too few rows sell anything")


def least_squares(
    outcome: Vector, columns: Matrix, levels: Levels, clusters: Labels | None, weights: Vector | None = None
) -> Fit:
    """The weighted least-squares regression of `outcome` on `columns`, with levels.

    Raises:
        NotEstimable: a column does not vary within the levels.
    """
    weight = np.ones(len(outcome)) if weights is None else weights
    left = levels.centred(np.column_stack([outcome, columns]), weight)
    coefficients = _solved(left[:, 1:], left[:, 0], weight)
    rest = left[:, 0] - left[:, 1:] @ coefficients
    covariance, number = _sandwich(left[:, 1:], weight, weight * rest, clusters)
    return Fit(coefficients, covariance, number, outcome - rest, outcome - rest)


def _solved(columns: Matrix, outcome: Vector, weights: Vector) -> Vector:
    curvature = columns.T @ (columns * weights[:, None])
    spread = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    scaled = curvature / np.outer(spread, spread)
    if np.diag(curvature).min(initial=np.inf) <= 1e-12 * weights.sum() or np.linalg.cond(scaled) > 1e12:
        raise NotEstimable("a column does not vary once levels and other columns are held fixed")
    solved: Vector = np.linalg.solve(scaled, columns.T @ (outcome * weights) / spread) / spread
    return solved


def _sandwich(columns: Matrix, weights: Vector, scores: Vector, clusters: Labels | None) -> tuple[Matrix, int]:
    """The covariance of coefficients robust to dependence within clusters, with the correction G / (G - 1).

    Liang and Zeger 1986, Biometrika 73. Without clusters each row is one.
    """
    bread = np.linalg.inv(columns.T @ (columns * weights[:, None]))
    summed, number = by_cluster(columns * scores[:, None], clusters)
    return bread @ (summed.T @ summed) @ bread * number / (number - 1), number


def by_cluster(scores: Matrix, clusters: Labels | None) -> tuple[Matrix, int]:
    """The sum of the rows of each cluster, and how many clusters there are."""
    if clusters is None:
        return scores, len(scores)
    codes = np.unique(clusters, return_inverse=True)[1].ravel()
    number = int(codes.max()) + 1
    return np.column_stack([np.bincount(codes, weights=column, minlength=number) for column in scores.T]), number
