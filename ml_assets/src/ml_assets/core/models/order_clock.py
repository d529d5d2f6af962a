"""A shop's operational clock: it runs faster in busy weeks, so that customers who order at a steady rate stay steady.

Buy-till-you-die models know no seasons: read on this clock instead of the calendar (time change, Cinlar 1975), a rate
fitted before Christmas holds in spring. How fast it runs is the ratio of the repeat orders of each day to those that
the fitted model expects, smoothed by weekday, time of year and trend. The customers' model is `bg_nbd`. What an order
is worth has its seasons and its trend, too: they are smoothed alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.models import bg_nbd

Vector = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

YEAR = 364
"""Whole weeks. With less history there is no telling a season from a trend, and the clock is the calendar."""
HARMONICS = 3
TREND_SD, SEASON_SD, WEEKDAY_SD = 0.10, 0.15, 1.0
"""Prior standard deviations of the logarithm, of speed and of price level: of a year's trend, of the first harmonic (of
the k-th, SEASON_SD / k), and of a weekday. They keep two years of noisy days from becoming a season."""
ROUNDS, SETTLED = 10, 1e-3
"""Clock and model are fitted in turn until no day's speed changes by more than SETTLED."""


class Clock(NamedTuple):
    """The clock's speed on each day from day 0; its mean over the last year of what is known is 1."""

    speed: Vector

    def at(self, day: Days) -> Vector:
        """What the clock shows when each day begins, in units of 30 average days."""
        shown = np.concatenate([[0.0], np.cumsum(self.speed)]) / bg_nbd.DAYS_IN_UNIT
        values: Vector = shown[day]
        return values


class Prices(NamedTuple):
    """How dear an order is on each day from day 0, against the mean of those known; busy days count for more."""

    clock: Clock
    level: Vector

    def mean(self, first: Days, last: Days) -> Vector:
        """The level over the days from `first` to `last`, both with them."""
        paid = Clock(self.clock.speed * self.level)
        level: Vector = (paid.at(last + 1) - paid.at(first)) / (self.clock.at(last + 1) - self.clock.at(first))
        return level


class OrderDays(NamedTuple):
    """The days on which customers ordered, each pair once: `customer` counts from 0, `day` from the shop's start."""

    customer: Days
    day: Days

    def before(self, day: int) -> OrderDays:
        """Those before `day`."""
        known = self.day < day
        return OrderDays(self.customer[known], self.day[known])


class Spans(NamedTuple):
    """The number of days with an order of each customer who has one, and the first and last of these."""

    customer: Days
    order_days: Days
    first: Days
    last: Days


def spans(orders: OrderDays) -> Spans:
    """When and how often each customer ordered."""
    customer, inverse, count = np.unique(orders.customer, return_inverse=True, return_counts=True)
    first = np.full(len(customer), np.iinfo(np.int64).max)
    last = np.zeros(len(customer), np.int64)
    np.minimum.at(first, inverse, orders.day)
    np.maximum.at(last, inverse, orders.day)
    return Spans(customer, count.astype(np.int64), first, last)


def histories(known: Spans, clock: Clock, today: int) -> bg_nbd.Histories:
    """The customers' histories before day `today`, on the clock."""
    first = clock.at(known.first)
    shown = float(clock.at(np.array([today]))[0])
    return bg_nbd.Histories(known.order_days.astype(np.float64) - 1, clock.at(known.last) - first, shown - first)


def calendar(days: int) -> Clock:
    """The clock that runs alike on each of `days` days."""
    return Clock(np.ones(days))


def fit(orders: OrderDays, today: int, days: int) -> tuple[Clock, bg_nbd.Parameters]:
    """The clock over `days` days and the BG/NBD model on it, from the orders before day `today`.

    The days from `today` on have the season and the trend of those before.
    """
    known = orders.before(today)
    span, clock = spans(known), calendar(days)
    parameters = bg_nbd.fit(histories(span, clock, today))
    if today < YEAR:
        return clock, parameters
    newcomers = np.bincount(span.first, minlength=today)
    repeats = np.bincount(known.day, minlength=today) - newcomers
    columns = _columns(today, days)
    for _ in range(ROUNDS):
        expected = _expected(parameters, clock, newcomers)
        speed = _smoothed(columns, repeats.astype(np.float64), expected / clock.speed[:today])
        speed /= speed[today - YEAR : today].mean()
        change, clock = float(np.abs(speed / clock.speed - 1).max()), Clock(speed)
        parameters = bg_nbd.fit(histories(span, clock, today))
        if change < SETTLED:
            break
    return clock, parameters


def price_level(orders: Vector, totals: Vector, days: int) -> Vector:
    """How dear an order is on each of `days` days, against the mean of those known, and always alike in a first year.

    Args:
        orders: the number of orders on each known day, from day 0 on.
        totals: what these amount to together, in any currency.
        days: how many days are told of; those that are not known have the season and the trend of the others.
    """
    if len(orders) < YEAR or totals.sum() <= 0:
        return np.ones(days)
    level = _smoothed(_columns(len(orders), days), totals / (totals.sum() / orders.sum()), orders)
    mean: Vector = level / np.average(level[: len(orders)], weights=orders)
    return mean


def _expected(parameters: bg_nbd.Parameters, clock: Clock, newcomers: Days) -> Vector:
    """The expected repeat orders of each day, of customers who first ordered on the days before it."""
    shown = clock.at(np.arange(len(newcomers) + 1))
    grid = np.linspace(0, shown[-1], 4 * len(newcomers))
    repeats = bg_nbd.expected_repeats(parameters, grid)
    total = np.zeros(len(newcomers))
    for day in np.flatnonzero(newcomers):
        total[day:] += newcomers[day] * np.diff(np.interp(shown[day:] - shown[day], grid, repeats))
    return total


def _columns(today: int, days: int) -> Vector:
    """Trend, weekdays and harmonics of the year on each day, each times its prior standard deviation."""
    day = np.arange(days)
    trend = TREND_SD * (day - today) / YEAR
    weekdays = [WEEKDAY_SD * (day % 7 == weekday) for weekday in range(7)]
    turn = 2 * np.pi * day / 365.25
    season = [SEASON_SD / k * wave(k * turn) for k in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)]
    return np.column_stack([trend, *weekdays, *season]).astype(np.float64)


def _smoothed(columns: Vector, found: Vector, expected: Vector) -> Vector:
    """By how much what is found on a day exceeds the expected: a Poisson regression on `columns`, of all their days.

    Days vary more than Poisson's law says, by a factor that is estimated from the residuals of a first fit.
    """
    from sklearn.linear_model import PoissonRegressor

    today = len(found)
    told = expected > expected.mean() / 100  # the first days have hardly a customer who could come back
    rows, weights = columns[:today][told], expected[told]
    ratio, spread = found[told] / weights, 1.0
    for _ in range(2):
        model = PoissonRegressor(alpha=spread / weights.sum(), solver="newton-cholesky", tol=1e-8)
        model.fit(rows, ratio, sample_weight=weights)
        fitted = model.predict(rows)
        spread = max(1.0, float(np.mean(weights * (ratio - fitted) ** 2 / fitted)))
    smoothed: Vector = model.predict(columns)
    return smoothed
