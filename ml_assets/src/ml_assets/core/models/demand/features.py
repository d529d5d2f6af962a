"""What is known of each series at an origin about each period ahead: the rows that the forecaster learns from.

All that looks at quantities looks at periods before the origin only. Quantities are told relative to the series' recent
level, so that one model fits a series that sells one a week and one that sells thousands a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.demand.panel import Matrix, Panel

MEMORY = 8
"""Seasons that the seasonal profile averages over; older ones fade."""
PRIOR = 0.5
"""Observations that an average of all counts as, in a series' level and in the profile of a place in the season."""
PRIOR_EFFECT = 30.0
"""Observations that the regressor's effect on all series counts as in its effect on one."""
LARGEST_RATIO = 20.0
LARGEST_EFFECT = 10.0
LAGS = 4
SMALLEST_LEVEL = 1e-6

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


class Features(NamedTuple):
    """Of each series and period ahead: `values` (series × horizon × names), and the seasonal level as `base`."""

    values: npt.NDArray[np.float32]
    base: Matrix


class History:
    """A panel's running sums, from which the features of any origin follow without a look at what came after it."""

    def __init__(self, panel: Panel) -> None:
        self.panel, self.frequency = panel, panel.frequency
        observed = ~np.isnan(panel.quantity)
        filled = np.where(observed, panel.quantity, 0.0)
        self.observed, self.filled = observed, filled
        self.count, self.total, self.squares, self.sold = (
            _running(values) for values in (observed, filled, filled**2, filled > 0)
        )
        places = np.arange(panel.periods)
        self.last_sold = np.maximum.accumulate(np.where(filled > 0, places, -1), axis=1)
        seasons = self.frequency.season * max(1, self.frequency.windows[1] // self.frequency.season)
        usual = self._mean(self.total, places - seasons, places)
        self.ratio = np.clip(panel.quantity / np.where(usual > 0, usual, np.nan), 0, LARGEST_RATIO)
        self.changes = {name: self._change(values) for name, values in panel.regressors.items()}
        self.effects = {name: self._effect(change) for name, change in self.changes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in their order."""
        return (
            *("horizon", "season_place", "month", "day_of_month", "day_of_year"),
            *("level", "season_index", "observations", "short_ratio", "long_ratio", "year_ratio"),
            *("sold_share", "variation", "since_last_sold", "panel_ratio", "last_ratio", "year_ago_ratio"),
            *(f"season_lag_{lag}" for lag in range(1, LAGS + 1)),
            *(f"{name}_{what}" for name in self.panel.regressors for what in ("value", "change", "effect")),
        )

    def at(self, origins: Sequence[int], horizon: int) -> Iterator[Features]:
        """The features of the `horizon` periods from each origin on. Origins ascend, and the panel has the periods."""
        profile = _Profile(self)
        for origin in origins:
            yield self._at(origin, horizon, profile.at(origin))

    def _at(self, origin: int, horizon: int, profile: Matrix) -> Features:
        short, recent, long = self.frequency.windows
        season, year = self.frequency.season, self.frequency.year
        ahead = np.arange(origin, origin + horizon)
        index = profile[:, ahead % season]
        level = self._level(origin, profile)

        def ratio(values: Matrix) -> Matrix:
            return np.clip(values / level, 0, LARGEST_RATIO)

        def last(running: Matrix, periods: int) -> Matrix:
            return self._mean(running, np.array([origin - periods]), np.array([origin]))

        count, total = self.count[:, [origin]], self.total.sum(axis=0)
        mean = last(self.total, recent)
        deviation = np.sqrt(np.maximum(last(self.squares, recent) - mean**2, 0))
        since = origin - self.last_sold[:, [origin - 1]]
        short_total = (total[origin] - total[max(origin - short, 0)]) / short
        long_total = (total[origin] - total[max(origin - long, 0)]) / min(long, origin)
        width = season // 2 if season < year else 0
        year_ago = self._mean(self.total, ahead - year - width, np.minimum(ahead - year + width + 1, origin))
        base_ago = self._mean(self.total, np.array([origin - year - recent]), np.array([origin - year]))
        behind = ahead - season * -(-(ahead - origin + 1) // season)
        changes = [change[:, ahead] for change in self.changes.values()]
        effects = [
            slope[:, [origin]] * np.nan_to_num(c) for slope, c in zip(self.effects.values(), changes, strict=True)
        ]
        known = [values[:, ahead] for values in self.panel.regressors.values()]
        columns = [
            *_calendar(self.panel, ahead, origin),
            np.log(level),
            index,
            count,
            ratio(last(self.total, short)),
            ratio(last(self.total, long)),
            ratio(last(self.total, year)),
            last(self.sold, recent),
            deviation / level,
            np.where(since <= origin, since, np.nan),
            np.full_like(level, short_total / max(long_total, SMALLEST_LEVEL)),
            ratio(self._value(np.array([origin - 1]))),
            np.clip(year_ago / np.where(base_ago > 0, base_ago, np.nan), 0, LARGEST_RATIO),
            *(ratio(self._value(behind - lag * season)) for lag in range(LAGS)),
            *(part for parts in zip(known, changes, effects, strict=True) for part in parts),
        ]
        shape = index.shape
        values = np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1).astype(np.float32)
        lifted = np.clip(1 + sum(effects, np.zeros(shape)), 1 / LARGEST_EFFECT, LARGEST_EFFECT)
        return Features(values, np.maximum(level * index * lifted, SMALLEST_LEVEL))

    def _level(self, origin: int, profile: Matrix) -> Matrix:
        """The recent mean without the season; a new series' is that of the typical series, until it has its own."""
        start = max(origin - self.frequency.windows[1], 0)
        means = self.total[:, origin] / np.maximum(self.count[:, origin], 1)
        begun = self.count[:, origin] > 0
        typical = float(np.median(means[begun])) if begun.any() else 1.0
        prior = (self.total[:, origin] + PRIOR * typical) / (self.count[:, origin] + PRIOR)
        expected = profile[:, np.arange(start, origin) % self.frequency.season] * self.observed[:, start:origin]
        level = (self.total[:, origin] - self.total[:, start] + PRIOR * prior) / (expected.sum(axis=1) + PRIOR)
        leveled: Matrix = np.maximum(level, SMALLEST_LEVEL)[:, None]
        return leveled

    def _change(self, values: Matrix) -> Matrix:
        """How a regressor differs from its recent mean: as a share where it is always positive, as prices are."""
        places, known = np.arange(values.shape[1]), ~np.isnan(values)
        filled, count = _running(np.where(known, values, 0.0)), _running(known)
        low = np.maximum(places - self.frequency.windows[1], 0)
        seen = count[:, places] - count[:, low]
        usual = np.where(seen > 0, (filled[:, places] - filled[:, low]) / np.maximum(seen, 1), np.nan)
        change: Matrix = values / usual - 1 if np.nanmin(values, initial=np.inf) > 0 else values - usual
        return change

    def _effect(self, change: Matrix) -> Matrix:
        """By how much of its usual quantity a series sold more per unit of change, up to each origin (ridge)."""
        both = ~np.isnan(change) & ~np.isnan(self.ratio)
        x, y = np.where(both, change, 0.0), np.where(both, self.ratio - 1, 0.0)
        products, squares = _running(x * y), _running(x * x)
        all_squares = squares.sum(axis=0)
        pooled = products.sum(axis=0) / np.maximum(all_squares, SMALLEST_LEVEL)
        weight = PRIOR_EFFECT * all_squares / np.maximum(_running(both).sum(axis=0), 1)
        effect: Matrix = (products + weight * pooled) / np.maximum(squares + weight, SMALLEST_LEVEL)
        return effect

    def _mean(self, running: Matrix, start: Places, end: Places) -> Matrix:
        """The mean over the observed periods in [start, end) of what was summed; NaN where there is none."""
        low, high = np.clip(start, 0, None), np.clip(end, 0, None)
        count = self.count[:, high] - self.count[:, low]
        return np.where(count > 0, (running[:, high] - running[:, low]) / np.maximum(count, 1), np.nan)

    def _value(self, places: Places) -> Matrix:
        """The quantities of the periods at `places`; NaN where they are before the panel."""
        return np.where(places >= 0, self.panel.quantity[:, np.maximum(places, 0)], np.nan)


class _Profile:
    """How much of its level a series sells at each place in the season: an average that forgets, up to an origin."""

    def __init__(self, history: History) -> None:
        self.history, self.origin = history, 0
        shape = (len(history.panel.series), history.frequency.season)
        self.mean, self.count = np.zeros(shape), np.zeros(shape)

    def at(self, origin: int) -> Matrix:
        """The profile of each series, 1 on average over the season, as of `origin`."""
        for period in range(self.origin, origin):
            place, ratio = period % self.mean.shape[1], self.history.ratio[:, period]
            known = ~np.isnan(ratio)
            self.count[known, place] += 1
            weight = np.maximum(1 / np.maximum(self.count[known, place], 1), 1 / MEMORY)
            self.mean[known, place] += weight * (ratio[known] - self.mean[known, place])
        self.origin = origin
        counted = np.minimum(self.count, MEMORY)
        shrunk = (self.mean * counted + PRIOR) / (counted + PRIOR)
        profile: Matrix = shrunk / shrunk.mean(axis=1, keepdims=True)
        return profile


def _calendar(panel: Panel, ahead: Places, origin: int) -> list[Vector]:
    days = panel.dates[ahead].astype("datetime64[D]")
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]")
    return [
        ahead - origin + 1.0,
        (ahead % panel.frequency.season).astype(np.float64),
        (months - years.astype("datetime64[M]")).astype(np.float64),
        (days - months.astype("datetime64[D]")).astype(np.float64),
        (days - years.astype("datetime64[D]")).astype(np.float64),
    ]


def _running(values: npt.NDArray[np.generic]) -> Matrix:
    """Sums of the first 0, 1, … periods."""
    return np.pad(np.cumsum(values, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
