"""Scores of forecasts of many series, and the windows of a backtest. They know no model.

Matrices are series × periods. A period whose actual quantity is NaN, which nobody observed, counts nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]


class Window(NamedTuple):
    """What happened after an origin, and what a series' errors are measured against: all from before the origin.

    `squared_scale` and `absolute_scale` are the mean squared and absolute errors of the naive forecasts by which RMSSE
    and MASE are scaled; `weight` is each series' quantity in the last periods.
    """

    actual: Matrix
    squared_scale: Vector
    absolute_scale: Vector
    weight: Vector


class PointScores(NamedTuple):
    """`weighted_rmsse`: RMSSE weighted by quantity; `wape` and `bias`: absolute and signed errors over the quantity."""

    weighted_rmsse: float
    rmsse: float
    mase: float
    wape: float
    bias: float


def origins(periods: int, horizon: int, windows: int) -> list[int]:
    """The origins of the last `windows` windows of `horizon` periods that do not overlap, the earliest first."""
    return [periods - window * horizon for window in range(windows, 0, -1)]


def window(quantity: Matrix, origin: int, horizon: int, *, season: int, recent: int) -> Window:
    """The window of a backtest at `origin`; weights are by quantity in the `recent` periods before it.

    Scales as in M5 (Makridakis et al. 2022) from a series' first sale on: one step for RMSSE; a season for MASE
    (Hyndman and Koehler 2006), or one step where history is shorter.
    """
    past = quantity[:, :origin]
    past = np.where(np.cumsum(np.nan_to_num(past), axis=1) > 0, past, np.nan)
    seasonal = _naive_errors(past, season)
    return Window(
        actual=quantity[:, origin : origin + horizon],
        squared_scale=_row_means(_naive_errors(past, 1) ** 2),
        absolute_scale=_row_means(
            np.abs(seasonal if seasonal.size and not np.isnan(seasonal).all() else _naive_errors(past, 1))
        ),
        weight=np.nansum(past[:, -recent:], axis=1),
    )


def point_scores(windows: Sequence[Window], forecasts: Sequence[Matrix]) -> PointScores:
    """The scores of mean forecasts over all windows together; of scaled errors, the mean over the windows.

    Series without a scale, whose quantity never changed before the origin, have no scaled error and no weight.
    """
    squared, absolute, weighted = [], [], []
    for past, forecast in zip(windows, forecasts, strict=True):
        error = past.actual - forecast
        rmsse = np.sqrt(_ratio(_row_means(error**2), past.squared_scale))
        squared.append(np.nanmean(rmsse))
        absolute.append(np.nanmean(_ratio(_row_means(np.abs(error)), past.absolute_scale)))
        weight = np.where(np.isnan(rmsse), 0.0, past.weight)
        weighted.append(float(np.nansum(weight * rmsse) / weight.sum()) if weight.sum() > 0 else np.nan)
    actual, forecast = np.concatenate([w.actual for w in windows]), np.concatenate(list(forecasts))
    total = float(np.nansum(actual))
    return PointScores(
        weighted_rmsse=float(np.mean(weighted)),
        rmsse=float(np.mean(squared)),
        mase=float(np.mean(absolute)),
        wape=float(np.nansum(np.abs(actual - forecast)) / total) if total else np.nan,
        bias=float(np.nansum(forecast - actual) / total) if total else np.nan,
    )


def weighted_losses(windows: Sequence[Window], forecasts: Sequence[Matrix]) -> tuple[Vector, Vector]:
    """Of each series with a weight in each window, its part in `weighted_rmsse`, their mean; and its weight."""
    losses, weights = [], []
    for past, forecast in zip(windows, forecasts, strict=True):
        rmsse = np.sqrt(_ratio(_row_means((past.actual - forecast) ** 2), past.squared_scale))
        counts = ~np.isnan(rmsse) & (past.weight > 0)
        weights.append(past.weight[counts])
        losses.append(rmsse[counts] * past.weight[counts] / past.weight[counts].mean())
    return np.concatenate(losses), np.concatenate(weights)


def pinball(actual: Matrix, quantiles: Mapping[float, Matrix]) -> float:
    """The mean quantile loss over levels and observed periods, in units of quantity (Koenker and Bassett 1978)."""
    losses = [
        np.nanmean(np.maximum(level * (actual - values), (level - 1) * (actual - values)))
        for level, values in quantiles.items()
    ]
    return float(np.mean(losses))


def coverage(actual: Matrix, low: Matrix, high: Matrix) -> float:
    """The share of observed periods whose quantity lies in [low, high]."""
    known = ~np.isnan(actual)
    return float(((low <= actual) & (actual <= high))[known].mean())


def _naive_errors(past: Matrix, lag: int) -> Matrix:
    return past[:, lag:] - past[:, :-lag]


def _row_means(values: Matrix) -> Vector:
    """The mean of each row's known values; NaN where there is none."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def _ratio(values: Vector, scale: Vector) -> Vector:
    return values / np.where(scale > 0, scale, np.nan)
