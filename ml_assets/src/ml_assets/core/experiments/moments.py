"""Counts, means and covariances of metrics by variant and look, and the effects that follow from them, all at once.

The effect on one look, with its t interval, is tea-tasting's (`analysis`); it takes one pair of variants at a time. A
sequence of looks, or a thousand simulated experiments, are computed here, and a test holds both against each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ml_assets.core.experiments.plan import Codes, Matrix, Measured, Vector

VALUE, WEIGHT, INDEX = range(3)
NOTHING_LEFT = 1e-6
"""The share of a metric's variance that no measure of before leaves of one of after."""


class Moments(NamedTuple):
    """Of samples, over any leading axes: `size` (…), `mean` (…, columns), `covariance` (…, columns, columns)."""

    size: Vector
    mean: Vector
    covariance: Vector


class Effects(NamedTuple):
    """Differences of treatment and control with their standard errors."""

    effect: Vector
    error: Vector


def columns_of(measured: Measured, variant: Codes) -> Matrix:
    """The columns that moments are taken of: value, weight (1 but for a ratio), index (0 without covariates)."""
    weight = np.ones(len(measured.value)) if measured.weight is None else measured.weight
    return np.column_stack([measured.value, weight, index_of(measured, variant)])


def index_of(measured: Measured, variant: Codes) -> Vector:
    """What covariates, together, predict of each unit's value: their best linear combination, of mean 0.

    Fitted within the variants, so that it knows nothing of the effect (CUPED with several covariates: Deng and others
    2013, section 4; Lin 2013). Of a ratio, it predicts the linearised value of the delta method.
    """
    if measured.covariates is None or not measured.covariates.shape[1]:
        return np.zeros(len(measured.value))
    target = measured.value
    if measured.weight is not None:
        target = target - target.sum() / measured.weight.sum() * measured.weight
    covariates = measured.covariates - measured.covariates.mean(axis=0)
    spread = covariates.std(axis=0)
    covariates = covariates[:, spread > 0] / spread[spread > 0]
    arms = np.eye(int(variant.max()) + 1)[variant]
    shares = arms.sum(axis=0)
    shares[shares == 0] = 1  # a variant that nobody is in
    within = covariates - (arms.T @ covariates / shares[:, None])[variant]
    residual = target - (arms.T @ target / shares)[variant]
    slopes = np.linalg.lstsq(within.T @ within, within.T @ residual, rcond=None)[0]
    index: Vector = covariates @ slopes
    return index


def explains_wholly(measured: Measured, variant: Codes) -> bool:
    """Whether covariates leave nothing of a metric within the variants: then they are the metric, in other words."""
    index = index_of(measured, variant)
    target = measured.value
    if measured.weight is not None:
        target = target - target.sum() / measured.weight.sum() * measured.weight
    arms = np.eye(int(variant.max()) + 1)[variant]
    sizes = np.maximum(arms.sum(axis=0), 1)
    value, told = (one - (arms.T @ one / sizes)[variant] for one in (target, index))
    return bool(np.any(told != 0) and ((value - told) ** 2).sum() <= NOTHING_LEFT * (value**2).sum())


def moments(columns: Matrix, variant: Codes, variants: int) -> Moments:
    """The moments of each variant: axes (variant,)."""
    found = cumulative(columns, variant, np.zeros(len(variant), dtype=np.int64), variants, 1)
    return Moments(*(part[0] for part in found))


def cumulative(columns: Matrix, variant: Codes, look: Codes, variants: int, looks: int) -> Moments:
    """The moments of all units up to each look: axes (look, variant). `look` says at which one each unit comes in."""
    place, cells = look * variants + variant, looks * variants
    centre = columns.mean(axis=0)  # or squares of large numbers would lose the digits
    moved = columns - centre
    wide = moved.shape[1]
    sums, squares = np.empty((cells, wide)), np.empty((cells, wide, wide))
    for row in range(wide):
        sums[:, row] = np.bincount(place, weights=moved[:, row], minlength=cells)
        for column in range(row, wide):
            products = np.bincount(place, weights=moved[:, row] * moved[:, column], minlength=cells)
            squares[:, row, column] = squares[:, column, row] = products
    sizes = np.bincount(place, minlength=cells).astype(np.float64).reshape(looks, variants).cumsum(axis=0)
    found = from_sums(
        sizes,
        sums.reshape(looks, variants, wide).cumsum(axis=0),
        squares.reshape(looks, variants, wide, wide).cumsum(axis=0),
    )
    return Moments(found.size, found.mean + centre, found.covariance)


def from_sums(count: Vector, sums: Vector, squares: Vector) -> Moments:
    """The moments that sums and sums of products make; NaN where there are too few units."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums / count[..., None]
        products = squares - count[..., None, None] * mean[..., :, None] * mean[..., None, :]
        covariance = np.where(count[..., None, None] > 1, products / (count[..., None, None] - 1), np.nan)
    return Moments(count, mean, covariance)


def pooled(first: Moments, second: Moments) -> Moments:
    """The moments of both samples together."""
    counts = np.stack([first.size, second.size])
    means = np.stack([first.mean, second.mean])
    total = counts.sum(axis=0)
    mean = (counts[..., None] * means).sum(axis=0) / total[..., None]
    apart = means - mean
    products = (counts[..., None, None] - 1) * np.stack([first.covariance, second.covariance])
    products = products + counts[..., None, None] * apart[..., :, None] * apart[..., None, :]
    return Moments(total, mean, products.sum(axis=0) / (total[..., None, None] - 1))


def lifted(one: Moments, height: float) -> Moments:
    """The moments with the ratio of value and weight higher by `height` for each unit; its variance stays as it is."""
    turn = np.eye(3)
    turn[VALUE, WEIGHT] = height
    return Moments(one.size, turn @ one.mean, turn @ one.covariance @ turn.T)


def effects(control: Moments, treatment: Moments) -> Effects:
    """Treatment less control of value over weight, adjusted by the index, with the delta method's error.

    Formulas: Deng, Knoblich and Lu (2018) for the ratio, Deng and others (2013) for the adjustment.
    """
    together = pooled(control, treatment)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = _ratio_covariance(together) / together.covariance[..., INDEX, INDEX]
    slope = np.where(together.covariance[..., INDEX, INDEX] > 0, slope, 0.0)
    differences = []
    for one in (control, treatment):
        ratio = one.mean[..., VALUE] / one.mean[..., WEIGHT]
        adjusted = ratio - slope * (one.mean[..., INDEX] - together.mean[..., INDEX])
        variance = ratio_variance(one) + slope**2 * one.covariance[..., INDEX, INDEX]
        variance = variance - 2 * slope * _ratio_covariance(one)
        differences.append((adjusted, variance / one.size))
    (before, first), (after, second) = differences
    return Effects(after - before, np.sqrt(np.maximum(first + second, 0.0)))


def ratio_variance(one: Moments) -> Vector:
    """The variance of a unit's part in value over weight, by the delta method."""
    value, weight, c = one.mean[..., VALUE], one.mean[..., WEIGHT], one.covariance
    ratio = value / weight
    found: Vector = (
        c[..., VALUE, VALUE] - 2 * ratio * c[..., VALUE, WEIGHT] + ratio**2 * c[..., WEIGHT, WEIGHT]
    ) / weight**2
    return found


def _ratio_covariance(one: Moments) -> Vector:
    value, weight, c = one.mean[..., VALUE], one.mean[..., WEIGHT], one.covariance
    found: Vector = (c[..., VALUE, INDEX] - value / weight * c[..., WEIGHT, INDEX]) / weight
    return found
