"""The daily budget that earns most: how much to spend on each channel, within limits, and how sure its gain is.

Profit of a day is the margin of the orders that the channels add in the long run, by their curves, less what is spent
on them. What is proposed has the highest profit on average over curves that are as likely as each other (the draws of
`response`): the best of many starts by SLSQP (Kraft 1988), one of them the exact solution on a grid by a price of
budget (Everett 1963, Generalized Lagrange multiplier method), which the S-shape of the curves does not mislead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.budget.response import Curve, Response
from ml_assets.core.evaluation.classification import Interval

GRID = 201
"""Points of each channel's range that are tried."""
PRICES = 60
"""Halvings until the price of budget is found."""
MOST_DRAWS = 150
NEAR = 1e-6

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """What a budget has to keep: `total_change` of today's total at most (0.1: a tenth more), and for each channel
    between `lowest` and `highest` times of what is spent today, or as `bounds` says of a channel by its name."""

    total_change: float = 0.0
    lowest: float = 0.5
    highest: float = 1.5
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in {"every channel": (self.lowest, self.highest), **self.bounds}.items():
            if not 0 <= low <= high:
                raise ValueError(f"the bounds of {name} must be 0 <= lowest <= highest, not {low} and {high}")
        if self.total_change <= -1:
            raise ValueError(f"total_change must be above -1 (-0.2: a fifth less), not {self.total_change}")


class Line(NamedTuple):
    """A channel's part: daily spend today and as proposed, with the interval over draws, and its limits.

    `return_today` and `return_proposed` are the margin that one more unit of currency adds there (1: it pays itself).
    `is_capped`: more is not proposed since nobody has seen more being spent.
    """

    channel: str
    today: float
    proposed: float
    low: float
    high: float
    least: float
    most: float
    return_today: float
    return_proposed: float
    is_capped: bool


@dataclass(frozen=True)
class Allocation:
    """A budget in the shop's currency a day: `profit` is that of the proposal, `gain` over today's, over the draws."""

    lines: tuple[Line, ...]
    total_most: float
    margin_of_order: float
    profit_today: Interval
    profit: Interval
    gain: Interval

    @property
    def is_shown(self) -> bool:
        """Whether the proposal earns more than today's budget, beyond what is not known of the curves."""
        return self.gain.low > 0

    @property
    def is_within_limits(self) -> bool:
        """Whether the proposal keeps the total and each channel's limits."""
        inside = all(one.least - NEAR <= one.proposed <= one.most + NEAR for one in self.lines)
        return inside and sum(one.proposed for one in self.lines) <= self.total_most + NEAR


class Curves:
    """Curves of the same channels as arrays (draws, channels), whose profit is averaged over the draws."""

    def __init__(self, draws: Sequence[Sequence[Curve]], margin_of_order: float) -> None:
        self.most, self.half, self.exponent, self.mean_spend = np.moveaxis(np.array(draws, dtype=np.float64), -1, 0)
        self.margin = margin_of_order

    def gains(self, spend: Matrix) -> Matrix:
        """The margin of the orders that are added, (…, draws, channels), of daily spends (…, 1, channels)."""
        reached = (spend / self.mean_spend) ** self.exponent
        found: Matrix = self.margin * self.most * reached / (reached + self.half**self.exponent)
        return found

    def profits(self, spend: Vector) -> Vector:
        """Profit a day by each draw."""
        found: Vector = self.gains(spend[None, :]).sum(axis=1) - spend.sum()
        return found

    def slopes(self, spend: Vector) -> Vector:
        """The margin that one more unit of currency adds in each channel, averaged over the draws."""
        scaled = np.maximum(spend, NEAR) / self.mean_spend
        reached, half = scaled**self.exponent, self.half**self.exponent
        steep = self.margin * self.most * self.exponent * half * reached / (reached + half) ** 2
        found: Vector = (steep / np.maximum(spend, NEAR)).mean(axis=0)
        return found


def allocate(responses: Sequence[Response], margin_of_order: float, limits: Limits) -> Allocation:
    """Propose a daily budget for the channels of `responses`; `margin_of_order` is what is left of an order's revenue.

    Raises:
        ValueError: `limits` names a channel that is not there.
    """
    unknown = sorted(set(limits.bounds) - {response.channel for response in responses})
    if unknown:
        known = ", ".join(response.channel for response in responses)
        raise ValueError(f"bounds of {', '.join(unknown)}: there is no such channel, these are: {known}")
    today = np.array([response.today for response in responses])
    ranges = np.array([limits.bounds.get(one.channel, (limits.lowest, limits.highest)) for one in responses])
    wanted = today * ranges[:, 1]
    known_up_to = np.maximum([response.highest for response in responses], today)
    least, most = today * ranges[:, 0], np.minimum(wanted, known_up_to)
    least = np.minimum(least, most)
    total = max(float(today.sum() * (1 + limits.total_change)), float(least.sum()))
    draws = list(zip(*(response.draws[:MOST_DRAWS] for response in responses), strict=True))
    curves = Curves(draws, margin_of_order)
    proposed = best(curves, least, most, total, today)
    each = [on_grid(Curves([draw], margin_of_order), least, most, total) for draw in draws]
    low, high = np.quantile(each, [0.025, 0.975], axis=0)
    returns = [curves.slopes(spend) for spend in (today, proposed)]
    now, then = curves.profits(today), curves.profits(proposed)
    lines = [
        Line(
            channel=response.channel,
            today=float(today[at]),
            proposed=float(proposed[at]),
            low=float(low[at]),
            high=float(high[at]),
            least=float(least[at]),
            most=float(most[at]),
            return_today=float(returns[0][at]),
            return_proposed=float(returns[1][at]),
            is_capped=bool(wanted[at] > known_up_to[at] and proposed[at] > most[at] - 0.01 * today[at]),
        )
        for at, response in enumerate(responses)
    ]
    return Allocation(tuple(lines), total, margin_of_order, _over(now), _over(then), _over(then - now))


def best(curves: Curves, least: Vector, most: Vector, total: float, today: Vector) -> Vector:
    """The spend of the highest mean profit between `least` and `most`, `total` at most."""
    from scipy.optimize import minimize

    spread = least + (most - least) * min(1.0, (total - least.sum()) / max(float((most - least).sum()), NEAR))
    starts = [on_grid(curves, least, most, total), _fitted(today, least, most, total), least, spread]
    found = list(starts)
    scale = float(today.mean())
    for start in starts:
        solution = minimize(
            lambda spend: -curves.profits(spend * scale).mean() / scale,
            start / scale,
            jac=lambda spend: 1 - curves.slopes(spend * scale),
            bounds=list(zip(least / scale, most / scale, strict=True)),
            constraints={
                "type": "ineq",
                "fun": lambda spend: total / scale - spend.sum(),
                "jac": lambda s: -np.ones(len(s)),
            },
            method="SLSQP",
            options={"maxiter": 100, "ftol": 1e-9},
        )
        found.append(_fitted(solution.x * scale, least, most, total))
    return max(found, key=lambda spend: float(curves.profits(spend).mean()))


def on_grid(curves: Curves, least: Vector, most: Vector, total: float) -> Vector:
    """The best points of a grid, by the lowest price of budget at which `total` is kept (Everett 1963)."""
    grid = least + np.linspace(0, 1, GRID)[:, None] * (most - least)
    gains = curves.gains(grid[:, None, :]).mean(axis=1)

    def chosen(price: float) -> Vector:
        found: Vector = grid[np.argmax(gains - price * grid, axis=0), np.arange(len(least))]
        return found

    cheap, dear = 1.0, float(max(1.0, (np.ptp(gains, axis=0) / np.maximum(grid[1] - grid[0], NEAR)).max()))
    if chosen(cheap).sum() <= total:
        return chosen(cheap)
    for _ in range(PRICES):
        price = (cheap + dear) / 2
        cheap, dear = (price, dear) if chosen(price).sum() > total else (cheap, price)
    return chosen(dear)


def _fitted(spend: Vector, least: Vector, most: Vector, total: float) -> Vector:
    """`spend` within the limits; what is too much is taken in proportion to what is above the least."""
    found: Vector = np.clip(spend, least, most)
    above = float((found - least).sum())
    allowed = max(total - float(least.sum()), 0.0)
    return found if above <= allowed else least + (found - least) * allowed / above


def _over(values: Vector) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
