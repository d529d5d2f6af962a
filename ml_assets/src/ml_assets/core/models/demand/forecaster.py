"""One forecaster for all series of a panel: trees that correct a seasonal level, and what they were off by in the past.

The mean is a LightGBM model with Tweedie loss of quantity over seasonal level. The scale of its errors is a second such
model, and their distribution that of the standardised errors in past windows the mean had not seen (split conformal:
Lei et al. 2018, Romano et al. 2019). A forecast is made directly for each period ahead, never from another forecast.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.demand.features import Features, History
from ml_assets.core.models.demand.panel import Matrix, Panel
from ml_assets.core.models.errors import NotEnoughData, TooYoung

NAME = "demand_forecast"
SEED = 7
THREADS = 1
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
LEVELS = tuple(round(step / 200, 3) for step in range(1, 200))
"""The levels at which the distribution of errors is kept; others lie on the line between two."""
ORIGINS = 120
"""Training origins at most, evenly spread over history: nearer ones repeat each other."""
FEWEST_ORIGINS, SURPLUS = 24, 5
"""Of panels so large that few origins give many rows, fewer are taken: enough for so many times the rows needed."""
CALIBRATION_WINDOWS = 12
CALIBRATION_SHARE = 0.35
"""Of the usable periods at most so many are kept from the mean while its errors are measured."""
INTERVAL = 0.9
"""The share of periods whose quantity lies in a forecast's interval."""
OF_THE_YEAR = ("month", "day_of_year")
"""Features that are withheld until each time of the year was learned from once: on UCI Online Retail, whose first such
days are those between the years, on which it is closed, all of the next December would be forecast as closed."""
MOST_CORRECTED = (-5.0, 5.0)
"""The logarithm of quantity over seasonal level that trees may say."""
SEASONAL_LEVEL = "seasonal_level"
TINY = 1e-12
BIN_ROWS = 400
BINS = 8

Vector = npt.NDArray[np.float64]


class Parameters(NamedTuple):
    """What may be tuned. `rows` bounds the training rows; beyond it a seeded sample is taken."""

    trees: int = 120
    learning_rate: float = 0.06
    leaves: int = 24
    leaf_rows: int = 60
    tweedie_power: float = 1.2
    feature_share: float = 0.7
    l2: float = 5.0
    rows: int = 120_000


class Errors(NamedTuple):
    """Distributions of standardised errors: row i of `quantiles` (at `LEVELS`) for means up to `edges[i]`."""

    edges: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Forecast:
    """The mean, scale and quantiles of the demand of each series in each period from the origin on.

    `total_errors[n - 1]` is what sums over the first n periods are off by, which the errors of single periods do not
    tell: those of neighbouring periods are alike.
    """

    series: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    mean: Matrix
    scale: Matrix
    errors: Errors
    total_errors: tuple[Errors, ...]
    whole: bool
    upper_levels: tuple[float, ...]

    def interval(self) -> tuple[Matrix, Matrix]:
        """The lower and upper bounds between which `INTERVAL` of the quantities lie.

        Where quantities are whole numbers, so is the lower bound: it is 0 wherever 5 % or more sell nothing, and then
        nothing lies below it. The upper bound makes up for that: its level is `INTERVAL` and what lies below the lower
        one, in past windows and for means of that size.
        """
        low = _low(self.errors, self.mean, self.scale, self.whole)
        levels = np.array(self.upper_levels)[_bins(self.errors, self.mean)]
        high = np.zeros_like(self.mean)
        for level in sorted(set(self.upper_levels)):
            high = np.where(levels == level, self.quantile(level), high)
        return low, high

    def quantile(self, level: float) -> Matrix:
        """The `level` quantile for each series and period; never negative, and never below a lower level's."""
        quantile: Matrix = _quantile(self.errors, self.mean, self.scale, level)
        return quantile

    def total_quantile(self, level: float, periods: int) -> Vector:
        """The `level` quantile of each series' demand in the first `periods` periods together.

        Raises:
            ValueError: the forecast reaches less far.
        """
        if not 1 <= periods <= self.mean.shape[1]:
            raise ValueError(f"Demand over {periods} periods was asked for; the forecast is for {self.mean.shape[1]}.")
        mean, scale = self.mean[:, :periods].sum(axis=1), np.sqrt((self.scale[:, :periods] ** 2).sum(axis=1))
        quantile: Vector = _quantile(self.total_errors[periods - 1], mean, scale, level)
        return quantile


class Explained(NamedTuple):
    """Why series are forecast what they are: `contributions` (series × names) that with `base` add up to `logs`.

    `logs` are the logarithms of the mean forecasts, averaged over the first season ahead, and `values` (series × names)
    the averages of what the forecaster knew; NaN where that is nothing. The first name is the seasonal level's, which
    the trees correct.
    """

    series: tuple[str, ...]
    names: tuple[str, ...]
    base: float
    values: Matrix
    contributions: Matrix

    @property
    def logs(self) -> Vector:
        """The logarithm of the geometric mean of each series' mean forecasts."""
        total: Vector = self.base + self.contributions.sum(axis=1)
        return total


@dataclass(frozen=True)
class Forecaster:
    """A fitted forecaster. `to_text` is its exported form: the same bytes for the same panel, origin and parameters."""

    names: tuple[str, ...]
    horizon: int
    parameters: Parameters
    mean_trees: str
    scale_trees: str
    errors: Errors
    total_errors: tuple[Errors, ...]
    whole: bool
    upper_levels: tuple[float, ...]

    def to_text(self) -> str:
        """The forecaster as JSON with LightGBM's text form of its trees; it can be read without running any code."""
        content = self.__dict__ | {
            "parameters": self.parameters._asdict(),
            "errors": self.errors._asdict(),
            "total_errors": [errors._asdict() for errors in self.total_errors],
        }
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Forecaster:
        """The forecaster whose exported form is `text`."""
        content = json.loads(text)

        def errors(parts: dict[str, Any]) -> Errors:
            return Errors(tuple(parts["edges"]), tuple(tuple(row) for row in parts["quantiles"]))

        return cls(
            **content
            | {
                "names": tuple(content["names"]),
                "parameters": Parameters(**content["parameters"]),
                "errors": errors(content["errors"]),
                "total_errors": tuple(errors(parts) for parts in content["total_errors"]),
                "upper_levels": tuple(content["upper_levels"]),
            }
        )

    def predict(self, panel: Panel, origin: int) -> Forecast:
        """Forecast the periods from `origin` on, by what was known then. Series that have ended get 0.

        Raises:
            ValueError: the panel has other regressors than the forecaster learned from, or too few dates.
        """
        features = self._known(panel, origin)
        mean = _mean(_booster(self.mean_trees), features)
        scale = _scale(_booster(self.scale_trees), features, mean)
        ended = panel.ended(origin)
        mean[ended], scale[ended] = 0.0, 0.0
        dates = panel.dates[origin : origin + self.horizon]
        return Forecast(panel.series, dates, mean, scale, self.errors, self.total_errors, self.whole, self.upper_levels)

    def explain(self, panel: Panel, origin: int) -> Explained:
        """What the mean forecasts of the first season from `origin` on are made of, of series that have not ended.

        The trees' part by TreeSHAP (Lundberg and others 2020), which adds up; of the seasonal level, by how much the
        series' own differs from that of all. A season of 1,000 series takes three seconds.

        Raises:
            ValueError: as for `predict`.
        """
        features = self._known(panel, origin)
        periods = min(self.horizon, panel.frequency.season)
        values, levels = features.values[:, :periods], np.log(features.base[:, :periods]).mean(axis=1)
        rows = values.reshape(-1, len(self.names))
        split = _booster(self.mean_trees).predict(rows, pred_contrib=True, num_threads=THREADS)
        parts, expected = split[:, :-1], split[:, -1]
        raw = parts.sum(axis=1)
        kept = np.clip(raw + expected, *MOST_CORRECTED) - expected
        parts *= np.divide(kept, raw, out=np.ones_like(raw), where=raw != 0)[:, None]
        by_series = parts.reshape(values.shape).mean(axis=1, dtype=np.float64)
        known = ~np.isnan(values)
        seen = np.where(known, values, 0).sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1)
        return Explained(
            series=panel.series,
            names=(SEASONAL_LEVEL, *self.names),
            base=float(expected[0] + levels.mean()),
            values=np.column_stack([np.exp(levels), np.where(known.any(axis=1), seen, np.nan)]),
            contributions=np.column_stack([levels - levels.mean(), by_series]),
        )

    def _known(self, panel: Panel, origin: int) -> Features:
        if origin + self.horizon > panel.periods:
            raise ValueError(
                f"The panel has {panel.periods - origin} periods from the origin on; {self.horizon} are needed."
            )
        history = History(panel.until(origin))
        if history.names != self.names:
            raise ValueError(f"The forecaster knows the features {self.names}; the panel has {history.names}.")
        (features,) = history.at([origin], self.horizon)
        return features


class _Window(NamedTuple):
    """A past window whose mean the trees had not learned from."""

    features: Features
    mean: Matrix
    actual: Matrix


def fit(panel: Panel, origin: int, horizon: int, parameters: Parameters) -> Forecaster:
    """Learn from the first `origin` periods of `panel` to forecast `horizon` periods ahead.

    Raises:
        TooYoung: the history has not the periods for a window to learn from and one to measure errors in.
        NotEnoughData: nothing in it can be learned, as where nothing was ever asked for.
    """
    history = History(panel.until(origin))
    calibration = calibration_origins(panel, origin, horizon)
    seen = _train_mean(history, calibration[0], horizon, parameters)
    windows = [
        _Window(features, _mean(seen, features), history.panel.quantity[:, start : start + horizon])
        for start, features in zip(calibration, history.at(calibration, horizon), strict=True)
    ]
    scale, scales = _fit_scale(windows, [start // horizon % 2 for start in calibration], parameters)
    mean = _train_mean(history, origin, horizon, parameters)
    actual, means = np.stack([w.actual for w in windows]), np.stack([w.mean for w in windows])
    errors, known = _errors(actual, means, scales), history.panel.quantity[~np.isnan(history.panel.quantity)]
    whole = bool((known == np.floor(known)).all())
    return Forecaster(
        names=history.names,
        horizon=horizon,
        parameters=parameters,
        mean_trees=mean.model_to_string(),
        scale_trees=scale.model_to_string(),
        errors=errors,
        whole=whole,
        upper_levels=_upper_levels(errors, actual, means, scales, whole=whole),
        total_errors=_total_errors(errors, actual, means, scales),
    )


def point_forecast(panel: Panel, origin: int, horizon: int, parameters: Parameters) -> Matrix:
    """The mean alone, which costs a third of `fit`: for tuning.

    Raises:
        TooYoung: as for `fit`.
    """
    history = History(panel.until(origin))
    calibration_origins(panel, origin, horizon)
    (features,) = history.at([origin], horizon)
    return _mean(_train_mean(history, origin, horizon, parameters), features)


def calibration_origins(panel: Panel, origin: int, horizon: int) -> list[int]:
    """The origins of the last windows before `origin`, in which errors are measured.

    Raises:
        TooYoung: as for `fit`.
    """
    if not _suffices(panel, origin, horizon):
        needed = next(periods for periods in count(origin) if _suffices(panel, periods, horizon))
        raise TooYoung(
            f"A forecast of {horizon} periods needs {needed} periods of history; there are {max(origin, 0)}. "
            "Load more, or forecast less far ahead."
        )
    span = int(CALIBRATION_SHARE * (origin - first_origin(panel, origin) - horizon))
    step = max(1, min(horizon, span // CALIBRATION_WINDOWS))
    windows = min(CALIBRATION_WINDOWS, 1 + span // step)
    return [origin - horizon - window * step for window in reversed(range(windows))]


def _suffices(panel: Panel, origin: int, horizon: int) -> bool:
    """Whether there is a window to learn from, one to measure errors in, and one more."""
    return origin - first_origin(panel, origin) >= 3 * horizon


def first_origin(panel: Panel, origin: int) -> int:
    """The earliest origin to learn from: a season and the recent window are over, or a third of a short history."""
    enough = max(panel.frequency.windows[1], panel.frequency.season)
    return max(1, min(enough, origin // 3))


def _train_mean(history: History, origin: int, horizon: int, parameters: Parameters) -> Any:
    """Trees for quantity over seasonal level, learned from windows that end at or before `origin`."""
    most = SURPLUS * parameters.rows // (len(history.panel.series) * horizon)
    origins = _spread(first_origin(history.panel, origin), origin - horizon, min(max(most, FEWEST_ORIGINS), ORIGINS))
    generator = np.random.default_rng(SEED)
    quota = max(parameters.rows // len(origins), 1)
    values, bases, targets = [], [], []
    for start, features in zip(origins, history.at(origins, horizon), strict=True):
        target = history.panel.quantity[:, start : start + horizon]
        chosen = np.flatnonzero(~np.isnan(target))
        if len(chosen) > quota:
            chosen = np.sort(generator.choice(chosen, quota, replace=False))
        values.append(features.values.reshape(target.size, -1)[chosen])
        bases.append(features.base.ravel()[chosen])
        targets.append(target.ravel()[chosen])
    rows = np.concatenate(values)
    if origin - first_origin(history.panel, origin) < history.frequency.year:
        rows[:, [history.names.index(name) for name in OF_THE_YEAR]] = np.nan
    return _trees(rows, np.concatenate(bases), np.concatenate(targets), parameters)


def _spread(first: int, last: int, most: int) -> list[int]:
    """At most `most` origins from `first` to `last`, evenly spread."""
    return sorted({int(place) for place in np.linspace(first, last, min(most, last - first + 1))})


def _trees(values: npt.NDArray[np.float32], base: Vector, target: Vector, parameters: Parameters) -> Any:
    """LightGBM trees for log(target / base) with Tweedie loss; the same bytes for the same rows."""
    import lightgbm

    if not target.any():
        raise NotEnoughData("All quantities to learn from are 0, or none differs from its forecast. Load more.")
    data = lightgbm.Dataset(values, target, init_score=np.log(base), free_raw_data=True)
    options = {
        "objective": "tweedie",
        "tweedie_variance_power": parameters.tweedie_power,
        "learning_rate": parameters.learning_rate,
        "num_leaves": parameters.leaves,
        "min_data_in_leaf": min(parameters.leaf_rows, max(len(target) // 20, 1)),
        "feature_fraction": parameters.feature_share,
        "lambda_l2": parameters.l2,
        "max_bin": 127,
        "seed": SEED,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": THREADS,
        "verbosity": -1,
    }
    return lightgbm.train(options, data, num_boost_round=parameters.trees)


def _booster(text: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=text)


def _corrected(booster: Any, values: npt.NDArray[np.float32], base: Matrix) -> Matrix:
    raw = booster.predict(values.reshape(base.size, -1), raw_score=True, num_threads=THREADS)
    corrected: Matrix = base * np.exp(np.clip(raw, *MOST_CORRECTED)).reshape(base.shape)
    return corrected


def _mean(booster: Any, features: Features) -> Matrix:
    return _corrected(booster, features.values, features.base)


def _scale(booster: Any, features: Features, mean: Matrix) -> Matrix:
    return _corrected(booster, *_scale_rows(features, mean))


def _scale_rows(features: Features, mean: Matrix) -> tuple[npt.NDArray[np.float32], Matrix]:
    """What the scale is learned from, and the scale that is expected without trees: that of counts."""
    values = np.concatenate([features.values, np.log(mean).astype(np.float32)[..., None]], axis=-1)
    return values, np.sqrt(mean) + 0.1 * mean


def _fit_scale(windows: Sequence[_Window], folds: Sequence[int], parameters: Parameters) -> tuple[Any, Matrix]:
    """Trees for the size of the mean's errors, and the scales of `windows` by trees that had not seen them."""
    smooth = parameters._replace(trees=80, leaves=12, tweedie_power=1.5, leaf_rows=4 * parameters.leaf_rows)
    rows = [_scale_rows(window.features, window.mean) for window in windows]

    def learned(chosen: Sequence[int]) -> Any:
        values, base = (np.concatenate([rows[w][part].reshape(rows[w][1].size, -1) for w in chosen]) for part in (0, 1))
        size = np.concatenate([np.abs(windows[w].actual - windows[w].mean).ravel() for w in chosen])
        known = ~np.isnan(size)
        return _trees(values[known], base[known, 0], size[known], smooth)

    everything = range(len(windows))
    scales = np.empty((len(windows), *windows[0].mean.shape))
    for fold in sorted(set(folds)):
        booster = learned([w for w in everything if folds[w] != fold] or everything)
        for w in everything:
            if folds[w] == fold:
                scales[w] = _corrected(booster, *rows[w])
    return learned(everything), scales


def _errors(actual: Matrix, mean: Matrix, scale: Matrix) -> Errors:
    """The distribution of (actual - mean) / scale, in bins of equal size by the mean."""
    known = ~np.isnan(actual)
    standardised, means = ((actual - mean) / scale)[known], mean[known]
    order = np.argsort(means, kind="stable")
    parts = np.array_split(order, max(1, min(BINS, len(order) // BIN_ROWS)))
    return Errors(
        edges=tuple(float(means[part[-1]]) for part in parts[:-1]),
        quantiles=tuple(tuple(map(float, np.quantile(standardised[part], LEVELS))) for part in parts),
    )


def _total_errors(errors: Errors, actual: Matrix, mean: Matrix, scale: Matrix) -> tuple[Errors, ...]:
    """The distributions of the errors of sums over the first 1, 2, … periods, by what was observed of these."""
    known = ~np.isnan(actual)
    sums = [np.cumsum(np.where(known, values, 0.0), axis=-1) for values in (actual, mean, scale**2)]
    some = np.cumsum(known, axis=-1) > 0
    return tuple(
        _errors(np.where(seen, total, np.nan), expected, np.sqrt(np.maximum(variance, TINY))) if seen.any() else errors
        for seen, total, expected, variance in zip(
            *(np.moveaxis(values, -1, 0) for values in (some, *sums)), strict=True
        )
    )


def _upper_levels(errors: Errors, actual: Matrix, mean: Matrix, scale: Matrix, *, whole: bool) -> tuple[float, ...]:
    """For each bin, the level of the upper bound with which `INTERVAL` of the past quantities lie in the interval."""
    low, bins, known = _low(errors, mean, scale, whole), _bins(errors, mean), ~np.isnan(actual)
    below = [(actual < low)[known & (bins == place)].mean() for place in range(len(errors.quantiles))]
    return tuple(min(INTERVAL + float(share), (1 + INTERVAL) / 2) for share in below)


def _low(errors: Errors, mean: Matrix, scale: Matrix, whole: bool) -> Matrix:
    low: Matrix = _quantile(errors, mean, scale, (1 - INTERVAL) / 2)
    return np.floor(low) if whole else low


def _bins(errors: Errors, mean: Any) -> Any:
    return np.searchsorted(np.array(errors.edges), mean, side="left")


def _quantile(errors: Errors, mean: Any, scale: Any, level: float) -> Any:
    """Mean plus the error's quantile, at least 0.

    Raises:
        ValueError: `level` is not within `LEVELS`.
    """
    if not LEVELS[0] <= level <= LEVELS[-1]:
        raise ValueError(f"The quantile {level} was asked for; it must be from {LEVELS[0]} to {LEVELS[-1]}.")
    at_level = np.array([np.interp(level, LEVELS, row) for row in errors.quantiles])
    return np.maximum(mean + scale * at_level[_bins(errors, mean)], 0.0)
