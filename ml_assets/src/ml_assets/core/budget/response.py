"""What spending on paid channels adds to a shop's daily orders: curves with carry-over and saturation, and intervals.

Each channel is told by two witnesses. Orders that are credited to it (the last touch) are few, so what its spend does
to them stands out from chance, but credit is not cause. All other orders tell how much more, or less, it adds in truth.
Modelled at once (`media_mix`), the first give the shape of a response and the second its level. Where orders are not
credited, or the credit does not follow the spend, the second stand alone, and the intervals are wider.

The curve is a Hill function of geometrically adstocked spend (Jin, Wang, Sun, Chan and Koehler 2017, Bayesian methods
for media mix modeling with carryover and shape effects). Intervals are of draws from the normal approximation at the
maximum (Laplace), widened by the overdispersion of whole weeks. Panels come from `panel`, budgets from `allocation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.budget.media_mix import LiftTest, MediaMix, Shape, Solution, adstock
from ml_assets.core.budget.panel import Panel
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.uplift import mean as mean_interval
from ml_assets.core.models.errors import NotEnoughData

SEED = 23
DRAWS = 300
FOLDS = 4
"""Every fourth week is held out in turn."""
FEWEST_DAYS = 180
FEWEST_ORDERS = 1_000
LEAST_VARIATION = 0.1
"""Standard deviation of a channel's daily spend over its mean, below which nothing can be told from it."""
QUARTER, YEAR = 91, 365
"""Days: today's spend is the mean of the last quarter, a curve that of the demand of the last year."""
KNOWN_UP_TO = 0.95
"""The quantile of adstocked spend beyond which a curve is not used."""
LIKELIHOOD_RATIO = 3.84
"""Twice the gain in log-likelihood that one parameter reaches by chance in 5 % of cases."""

Vector = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """What a channel adds in the long run where the same is spent on each day.

    `most * z^exponent / (z^exponent + half^exponent)` orders a day, z the daily spend over `mean_spend`.
    """

    most: float
    half: float
    exponent: float
    mean_spend: float

    def extra_orders(self, spend: npt.ArrayLike) -> Vector:
        """The extra orders a day of `spend` a day, in the shop's currency."""
        reached = (np.maximum(np.asarray(spend, dtype=np.float64), 0.0) / self.mean_spend) ** self.exponent
        found: Vector = self.most * reached / (reached + self.half**self.exponent)
        return found


@dataclass(frozen=True)
class Response:
    """What a paid channel did over the panel's days, and would do.

    `spend` is that of all days, `today` the mean daily spend of the last quarter, `extra_orders` all that it caused,
    `share` its part of what all paid channels caused,
    `return_on_spend` its extra revenue for one unit of currency. `highest` is the daily spend up to which its curve is
    known. `draws` are curves that are as likely as each other. `is_shown`: the orders cannot be explained without it.
    """

    channel: str
    spend: float
    today: float
    highest: float
    extra_orders: Interval
    share: Interval
    return_on_spend: Interval
    carry_over: Interval
    half_saturation: Interval
    curve: Curve
    draws: tuple[Curve, ...]
    is_shown: bool


@dataclass(frozen=True)
class Fitted:
    """The responses of all channels, and how good the fit is.

    `credit`: all orders that channels cause for one that they cause and are credited with, None where none is credited.
    `dispersion`: how much more than Poisson counts the weeks vary. `held_out`: what the channels add to the log-
    likelihood of a week that was left out of the fit. `expected` and `organic` are daily orders with and without them.
    """

    responses: tuple[Response, ...]
    exponent: Interval
    credit: Interval | None
    dispersion: float
    held_out: Interval
    expected: Vector
    organic: Vector

    @property
    def is_shown(self) -> bool:
        """Whether weeks that were left out are told better with the channels than without, beyond chance."""
        return self.held_out.low > 0


def fit(panel: Panel, lift_tests: Sequence[LiftTest] = ()) -> Fitted:
    """Estimate the response of each channel of `panel`, calibrated by experiments where there are any.

    Raises:
        NotEnoughData: there are too few days or orders, or the spend of a channel hardly varies.
        ValueError: a lift test is of no channel of the panel, or says nothing.
    """
    _require(panel)
    model = MediaMix(panel)
    days = np.ones(len(panel.dates))
    start = max((model.solve(at, days) for at in model.starts()), key=lambda found: found.height)
    model.calibrate(lift_tests, start.theta)
    dispersion = model.dispersion(start.theta)
    best = model.solve(start.theta, days, dispersion)
    draws = _draws(best)
    shapes = [[model.shape(theta, channel) for theta in (best.theta, *draws)] for channel in range(model.channels)]
    base = np.array([model.base(theta) for theta in (best.theta, *draws)])
    extra = np.array([_extra(model, base, of, channel) for channel, of in enumerate(shapes)])
    organic = (model.mean(best.theta, model.everyone).sum(axis=0), model.mean(best.theta, ~model.everyone).sum(axis=0))
    return Fitted(
        responses=tuple(
            _response(
                model,
                channel,
                shapes[channel],
                extra,
                base[:, -YEAR:].mean(axis=1),
                _shown(model, best, dispersion, channel),
            )
            for channel in range(model.channels)
        ),
        exponent=_interval(np.array([shape.exponent for shape in shapes[0]])),
        credit=_interval(np.exp([theta[model.at["all_credit"]][0] for theta in (best.theta, *draws)]))
        if len(model.credited)
        else None,
        dispersion=float(dispersion[-1]),
        held_out=_held_out(model, best, dispersion),
        expected=organic[0],
        organic=organic[1],
    )


def _require(panel: Panel) -> None:
    days, orders = len(panel.dates), int(panel.orders.sum())
    if days < FEWEST_DAYS or orders < FEWEST_ORDERS:
        raise NotEnoughData(
            f"there are {orders:,} orders in {days} days of spend, and {FEWEST_ORDERS:,} in {FEWEST_DAYS} are needed"
        )
    spread = panel.spend.std(axis=1) / panel.spend.mean(axis=1)
    fixed = [name for name, share in zip(panel.channels, spread, strict=True) if share < LEAST_VARIATION]
    if fixed:
        raise NotEnoughData(f"the daily spend on {', '.join(fixed)} hardly varies, so its effect cannot be seen")


def _draws(best: Solution) -> Vector:
    generator = np.random.default_rng(SEED)
    root = np.linalg.cholesky(best.precision + 1e-9 * np.eye(len(best.theta)))
    normal = generator.standard_normal((len(best.theta), DRAWS))
    found: Vector = best.theta + np.linalg.solve(root.T, normal).T
    return found


def _extra(model: MediaMix, base: Vector, shapes: list[Shape], channel: int) -> Vector:
    """All orders that a channel caused, by the estimate and by each draw."""
    found = []
    for daily, shape in zip(base, shapes, strict=True):
        wave = model.response(shape, channel)
        found.append(shape.all * float(daily @ wave) / wave.mean())
    return np.array(found)


def _response(
    model: MediaMix, channel: int, shapes: list[Shape], extra: Vector, base: Vector, is_shown: bool
) -> Response:
    spend, mean_spend = model.panel.spend[channel], float(model.mean_spend[channel])
    stock = adstock(model.spend[channel], shapes[0].carry_over, model.before[channel])
    curves = [
        Curve(float(daily * shape.all / model.response(shape, channel).mean()), shape.half, shape.exponent, mean_spend)
        for daily, shape in zip(base, shapes, strict=True)
    ]
    return Response(
        channel=model.panel.channels[channel],
        spend=float(spend.sum()),
        today=float(spend[-QUARTER:].mean()),
        highest=float(np.quantile(stock, KNOWN_UP_TO)) * mean_spend,
        extra_orders=_interval(extra[channel]),
        share=_interval(extra[channel] / extra.sum(axis=0)),
        return_on_spend=_interval(extra[channel] * model.panel.revenue_of_order / spend.sum()),
        carry_over=_interval(np.array([shape.carry_over for shape in shapes])),
        half_saturation=_interval(np.array([shape.half for shape in shapes]) * mean_spend),
        curve=curves[0],
        draws=tuple(curves[1:]),
        is_shown=is_shown,
    )


def _interval(values: Vector) -> Interval:
    """The first value with the middle 95 % of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


def _shown(model: MediaMix, best: Solution, dispersion: Vector, channel: int) -> bool:
    others = model.everyone.copy()
    others[channel] = False
    without = model.solve(best.theta, np.ones(len(model.panel.dates)), dispersion, others)
    return 2 * (best.height - without.height) > LIKELIHOOD_RATIO


def _held_out(model: MediaMix, best: Solution, dispersion: Vector) -> Interval:
    """What the channels add to the log-likelihood of all orders of a week that was left out, with its interval."""
    week = np.arange(len(model.panel.dates)) // 7
    orders, gains = model.orders.sum(axis=0), np.zeros(len(week))
    for fold in range(FOLDS):
        out = week % FOLDS == fold
        means = [
            model.mean(model.solve(best.theta, (~out).astype(np.float64), dispersion, active).theta, active).sum(axis=0)
            for active in (~model.everyone, model.everyone)
        ]
        gains[out] = (orders * np.log(means[1] / means[0]) - (means[1] - means[0]))[out]
    each: Vector = np.bincount(week, gains).astype(np.float64)
    return mean_interval(each)
