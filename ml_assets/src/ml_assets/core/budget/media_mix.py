"""The likelihood of daily orders given what was spent on paid channels, and its maximum under the priors.

Mean orders of a day that are credited to channel c, and of all other orders:

    base(t) * (part_c(t) + own_c(t))        base(t) * (1 + sum over c of all_c(t) - own_c(t))

base is the exponential of trend and controls; `own_c(t)`, the orders caused by c that are credited to it, and
`all_c(t)`, all that it causes, are `level * hill(adstock(spend))`, over the mean of the days. A channel that is not
credited is in the other orders alone. Responses with intervals are made of this in `response`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.budget.panel import Panel

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

KNOT_DAYS = 91
MOST_STEPS = 60
CLOSE_ENOUGH = 1e-4
NUDGE = 1e-4

CARRY_OVER = (-0.85, 1.2)
"""Mean and standard deviation of the log-odds of the share that lasts to the next day: 0.04 to 0.82 with 95 %."""
HALF_SATURATION = (0.0, 0.6)
"""Of the log of the daily spend at half of the most, in mean daily spends: 0.3 to 3.2."""
EXPONENT = (0.34, 0.3)
"""Of the log of the Hill exponent, one for all channels: between concave (1) and clearly S-shaped (2)."""
LEVEL = (-2.3, 1.5)
"""Of the log of what each channel adds to organic demand if it had the whole spend: a half percent to twice of it."""
ALIKE = 0.7
"""Standard deviation of the log of a channel's return from that of the others."""
CREDIT = (0.0, 0.5)
"""Of the log of all orders that the channels cause for one that they cause and are credited with."""
CREDIT_ALIKE, CREDIT_FREEDOM = 0.2, 2.0
"""Scale and degrees of freedom (Student's t) of a channel's distance from the others in that: most are alike, but one
that takes the credit for what came anyway is far off, and must not drag the others with it."""
BEND, EFFECT, DRIFT = 0.15, 0.5, 0.3
"""Of the trend's bend at a knot, of each control's effect, and of the drift of a channel's organic part: in logs."""
STARTS = ((0.0, 0.0, 0.0), (-1.0, -0.5, 0.3), (1.0, 0.5, -0.3))
"""Standard deviations from their prior means at which carry-over, half saturation and exponent start."""


class Solution(NamedTuple):
    """A maximum: parameters, the log posterior there, and the inverse of the parameters' covariance."""

    theta: Vector
    height: float
    precision: Matrix


class Shape(NamedTuple):
    """A channel's parameters: `own` and `all` are what is added to organic demand on the mean day, for one of it."""

    own: float
    all: float
    carry_over: float
    half: float
    exponent: float


class LiftTest(NamedTuple):
    """What a holdout or geo experiment found: the revenue that one unit of spend on `channel` added, and its error."""

    channel: str
    return_on_spend: float
    standard_error: float


class MediaMix:
    """A panel with its parameters: where each stands in the vector `theta`, and what they say of each day."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        days, self.channels = len(panel.dates), len(panel.channels)
        self.credited = np.flatnonzero(panel.is_credited)
        own = panel.credited[self.credited]
        self.orders: Matrix = np.vstack([own, panel.orders - own.sum(axis=0)])
        self.mean_spend: Vector = panel.spend.mean(axis=1)
        self.spend: Matrix = panel.spend / self.mean_spend[:, None]
        self.before: Vector = self.spend[:, :7].mean(axis=1)
        self.weight: Vector = self.mean_spend / self.mean_spend.sum()
        self.time: Vector = np.linspace(-1, 1, days)
        trend = _trend(days)
        self.knots = trend.shape[1]
        self.controls: Matrix = np.hstack([trend, panel.controls])
        sizes = {
            "controls": self.controls.shape[1], "part": len(self.credited), "drift": len(self.credited),
            "level": self.channels, "carry": self.channels, "half": self.channels, "credit": self.channels,
            "exponent": 1, "all_credit": 1,
        }  # fmt: skip
        ends = np.cumsum(list(sizes.values()))
        self.at = {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
        self.size = int(ends[-1])
        self.prior, self.target = self._prior()
        alone = (self.prior != 0).sum(axis=1) == 1
        self.tailed = np.flatnonzero(alone & (self.prior[:, self.at["credit"]] != 0).any(axis=1))
        self.everyone: Mask = np.ones(self.channels, dtype=bool)

    def solve(
        self, theta: Vector, days: Vector, dispersion: Vector | None = None, active: Mask | None = None
    ) -> Solution:
        """Climb from `theta` by Fisher scoring, halving steps that lead down.

        `days` weighs the days, with 0 for those that are left out; `dispersion` of each series divides its likelihood;
        channels that are not `active` have no response.
        """
        weight = days / (np.ones(len(self.orders)) if dispersion is None else dispersion)[:, None]
        chosen = self.everyone if active is None else active
        height = self._height(theta, weight, chosen)
        precision = np.eye(self.size)
        for _ in range(MOST_STEPS):
            mean, slopes = self.mean(theta, chosen), self._slopes(theta, chosen)
            scaled = slopes * (weight / mean)[:, :, None]
            off = self.prior @ theta - self.target
            held = self.prior.T * self._hold(off)
            precision = np.einsum("sti,stj->ij", scaled, slopes, optimize=True) + held @ self.prior
            push = np.einsum("sti,st->i", scaled, self.orders - mean) - held @ off
            step = np.linalg.solve(precision + 1e-9 * np.eye(self.size), push)
            length, gained = 1.0, 0.0
            while length > 1e-3:
                reached = self._height(theta + length * step, weight, chosen)
                if np.isfinite(reached) and reached > height:
                    gained = reached - height
                    theta, height = theta + length * step, reached
                    break
                length /= 2
            if gained < CLOSE_ENOUGH:
                break
        return Solution(theta, height, precision)

    def starts(self) -> list[Vector]:
        """Where to climb from: the orders' own levels, and shapes on both sides of the prior's."""
        found = []
        for carry, half, exponent in STARTS:
            theta = np.zeros(self.size)
            theta[: self.knots] = np.log(max(self.orders[-1].mean(), 0.5))
            own = self.orders[:-1].mean(axis=1) / max(self.orders[-1].mean(), 0.5)
            theta[self.at["part"]] = np.log(0.7 * np.maximum(own, 1e-4))
            theta[self.at["level"]] = LEVEL[0]
            theta[self.at["carry"]] = CARRY_OVER[0] + carry * CARRY_OVER[1]
            theta[self.at["half"]] = HALF_SATURATION[0] + half * HALF_SATURATION[1]
            theta[self.at["exponent"]] = EXPONENT[0] + exponent * EXPONENT[1]
            found.append(theta)
        return found

    def shape(self, theta: Vector, channel: int) -> Shape:
        """What `theta` says of a channel."""
        own = self.weight[channel] * np.exp(theta[self.at["level"]][channel])
        credit = theta[self.at["credit"]][channel] + theta[self.at["all_credit"]][0]
        return Shape(
            own=float(own),
            all=float(own * np.exp(credit)) if channel in self.credited else float(own),
            carry_over=float(1 / (1 + np.exp(-theta[self.at["carry"]][channel]))),
            half=float(np.exp(theta[self.at["half"]][channel])),
            exponent=float(np.exp(theta[self.at["exponent"]][0])),
        )

    def calibrate(self, tests: Sequence[LiftTest], theta: Vector) -> None:
        """Let experiments be part of the prior; `theta` is a solution without them, whose organic orders it takes.

        Raises:
            ValueError: a test is of no channel of the panel, or says nothing.
        """
        for test in tests:
            if test.channel not in self.panel.channels:
                raise ValueError(
                    f"a lift test is of {test.channel}; nothing is spent on it, but on {', '.join(self.panel.channels)}"
                )
            if test.return_on_spend <= 0 or test.standard_error <= 0:
                raise ValueError(f"the lift test of {test.channel} needs a return and a standard error above 0")
            channel = self.panel.channels.index(test.channel)
            orders = test.return_on_spend * self.panel.spend[channel].sum() / self.panel.revenue_of_order
            level = np.log(orders / self.base(theta).sum() / self.weight[channel])
            error = test.standard_error / test.return_on_spend
            self.prior = np.vstack([self.prior, self._whole()[channel] / error])
            self.target = np.append(self.target, level / error)

    def base(self, theta: Vector) -> Vector:
        """The orders of each day that neither came by a channel's credit nor were caused by one."""
        found: Vector = np.exp(self.controls @ theta[self.at["controls"]])
        return found

    def response(self, shape: Shape, channel: int) -> Vector:
        """The Hill curve of the channel's adstock on each day, between 0 and 1."""
        return hill(adstock(self.spend[channel], shape.carry_over, self.before[channel]), shape.half, shape.exponent)

    def mean(self, theta: Vector, active: Mask) -> Matrix:
        """Expected orders of each series on each day."""
        base = self.base(theta)
        found = np.empty_like(self.orders)
        found[:-1] = np.exp(theta[self.at["part"], None] + theta[self.at["drift"], None] * self.time)
        found[-1] = 1.0
        for channel in np.flatnonzero(active).tolist():
            shape = self.shape(theta, channel)
            wave = self.response(shape, channel)
            wave = wave / wave.mean()
            row = np.flatnonzero(self.credited == channel)
            if len(row):
                found[row[0]] += shape.own * wave
                found[-1] += (shape.all - shape.own) * wave
            else:
                found[-1] += shape.all * wave
        found[-1] = np.maximum(found[-1], 1e-3)
        return found * base

    def dispersion(self, theta: Vector) -> Vector:
        """For each series how much more its weeks vary than Poisson counts do; at least 1."""
        mean = self.mean(theta, self.everyone)
        weeks = np.arange(mean.shape[1]) // 7
        count = weeks[-1] + 1
        left = np.stack([np.bincount(weeks, row, count) for row in self.orders - mean])
        expected = np.stack([np.bincount(weeks, row, count) for row in mean])
        free = max(count - self.size / len(self.orders), count / 2)
        found: Vector = np.maximum((left**2 / expected).sum(axis=1) / free, 1.0)
        return found

    def _height(self, theta: Vector, weight: Matrix, active: Mask) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = self.mean(theta, active)
            fit = (weight * (self.orders * np.log(mean) - mean)).sum()
        squares = (self.prior @ theta - self.target) ** 2
        tails = (CREDIT_FREEDOM + 1) * np.log1p(squares[self.tailed] / CREDIT_FREEDOM)
        return float(fit - squares.sum() / 2 + squares[self.tailed].sum() / 2 - tails.sum() / 2)

    def _hold(self, off: Vector) -> Vector:
        """How strongly each row of the prior holds at this distance: less far out in a heavy tail."""
        found = np.ones(len(off))
        found[self.tailed] = (CREDIT_FREEDOM + 1) / (CREDIT_FREEDOM + off[self.tailed] ** 2)
        return found

    def _slopes(self, theta: Vector, active: Mask) -> npt.NDArray[np.float64]:
        """Derivatives of `mean`, (series, days, parameters); shapes' by a small step, each of one channel alone."""
        mean, base, at = self.mean(theta, active), self.base(theta), self.at
        found = np.zeros((*mean.shape, self.size))
        found[:, :, at["controls"]] = mean[:, :, None] * self.controls
        for place in range(len(self.credited)):
            organic = base * np.exp(theta[at["part"]][place] + theta[at["drift"]][place] * self.time)
            found[place, :, at["part"].start + place] = organic
            found[place, :, at["drift"].start + place] = organic * self.time
        for channel in np.flatnonzero(active).tolist():
            shape = self.shape(theta, channel)
            rows = np.flatnonzero(self.credited == channel)
            wave = self.response(shape, channel)
            wave = wave / wave.mean()
            turned = {
                "carry": shape._replace(carry_over=_nudged(shape.carry_over)),
                "half": shape._replace(half=shape.half * np.exp(NUDGE)),
                "exponent": shape._replace(exponent=shape.exponent * np.exp(NUDGE)),
            }
            waves = {name: self.response(other, channel) for name, other in turned.items()}
            columns = {name: (other / other.mean() - wave) / NUDGE for name, other in waves.items()}
            columns["level"] = wave
            own = shape.own if len(rows) else 0.0
            for name, column in columns.items():
                place = at[name].start + (0 if name == "exponent" else channel)
                found[-1, :, place] += base * (shape.all - own) * column
                if len(rows):
                    found[rows[0], :, place] += base * own * column
            if len(rows):
                for place in (at["credit"].start + channel, at["all_credit"].start):
                    found[-1, :, place] += base * shape.all * wave
        return found

    def _prior(self) -> tuple[Matrix, Vector]:
        """Rows and targets: the log prior is minus half the squares of `rows @ theta - targets`, but in `tailed`."""
        rows: list[Vector] = []
        targets: list[float] = []

        def hold(row: Vector, middle: float, spread: float) -> None:
            rows.append(row / spread)
            targets.append(middle / spread)

        one = np.eye(self.size)
        for at in range(1, self.knots - 1):
            hold(one[at - 1] - 2 * one[at] + one[at + 1], 0.0, BEND)
        for at in range(self.knots, self.controls.shape[1]):
            hold(one[at], 0.0, EFFECT)
        for name, (middle, spread) in {
            "part": (-2.0, 5.0), "drift": (0.0, DRIFT), "carry": CARRY_OVER, "half": HALF_SATURATION,
            "credit": (0.0, CREDIT_ALIKE), "exponent": EXPONENT, "all_credit": CREDIT,
        }.items():  # fmt: skip
            for row in one[self.at[name]]:
                hold(row, middle, spread)
        whole = self._whole()
        hold(whole.mean(axis=0), *LEVEL)
        for row in whole:
            hold(row - whole.mean(axis=0), 0.0, ALIKE)
        return np.array(rows), np.array(targets)

    def _whole(self) -> Matrix:
        """For each channel the row that makes the log of all that it adds, over its part of the spend, of `theta`."""
        found = np.zeros((self.channels, self.size))
        for channel in range(self.channels):
            found[channel, self.at["level"].start + channel] = 1
            if channel in self.credited:
                found[channel, [self.at["credit"].start + channel, self.at["all_credit"].start]] = 1
        return found


def adstock(spend: Vector, carry_over: float, before: float) -> Vector:
    """Daily spend of which the share `carry_over` lasts to the next day; `before` was spent on each day before."""
    from scipy.signal import lfilter

    found: Vector = lfilter([1 - carry_over], [1.0, -carry_over], spend, zi=np.array([carry_over * before]))[0]
    return found


def hill(stock: Vector, half: float, exponent: float) -> Vector:
    """The share of the most that a response can be, of adstock at least 0; a half of it at `half`."""
    reached = np.maximum(stock, 1e-9) ** exponent
    found: Vector = reached / (reached + half**exponent)
    return found


def _nudged(share: float) -> float:
    return float(1 / (1 + (1 - share) / share * np.exp(-NUDGE)))


def _trend(days: int) -> Matrix:
    """Cubic B-splines with a knot each quarter."""
    from scipy.interpolate import BSpline

    inner = np.linspace(0, days - 1, max(2, round(days / KNOT_DAYS) + 1))
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    found: Matrix = BSpline.design_matrix(np.arange(days, dtype=np.float64), knots, 3).toarray()
    return found
