"""Reorder advice: what to order of each product, from the distribution of its demand until the next chance to order.

Periodic review with a base stock (Silver, Pyke and Thomas 2017, ch. 6): at each review one orders what lifts the
inventory position, which is what is at hand and on order, to the reorder point. What is ordered now arrives after the
lead time and must last until what the next review orders arrives, so the reorder point is a quantile of the demand
in lead time and review time together; which one, the newsvendor's critical ratio says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.demand.forecaster import LEVELS, Forecast

Vector = npt.NDArray[np.float64]


class Terms(NamedTuple):
    """`lead` and `review` in periods; `service_level` is the share of review cycles without a shortage."""

    lead: int
    review: int
    service_level: float


class Advice(NamedTuple):
    """For each series, in units: the mean demand until the next order arrives, reorder point, stock kept for safety
    (the difference) and quantity to order now."""

    expected_demand: Vector
    reorder_point: Vector
    safety_stock: Vector
    order_quantity: Vector


def critical_ratio(*, shortage_cost: float, holding_cost: float) -> float:
    """The service level at which costs are least: `shortage_cost` of a unit short, `holding_cost` of a unit left over.

    Both are per unit and review cycle, in the same currency (Arrow, Harris and Marschak 1951). The result is bounded to
    the levels at which a forecast's distribution is known.

    Raises:
        ValueError: a cost is not positive.
    """
    if shortage_cost <= 0 or holding_cost <= 0:
        raise ValueError(f"Costs must be above 0; shortage costs {shortage_cost} and holding {holding_cost}.")
    return min(max(shortage_cost / (shortage_cost + holding_cost), LEVELS[0]), LEVELS[-1])


def advise(forecast: Forecast, terms: Terms, *, at_hand: Vector, on_order: Vector) -> Advice:
    """Advice for each series of `forecast`, in whole units where demand is counted in them.

    A reorder point is rounded down: no less demand is met by 7 units than by 7.6, and to round up would serve more than
    was asked for.

    Raises:
        ValueError: the forecast reaches less far than lead and review time, or the service level is out of range.
    """
    periods = terms.lead + terms.review
    point = forecast.total_quantile(terms.service_level, periods)
    point = np.floor(point) if forecast.whole else point
    expected = forecast.mean[:, :periods].sum(axis=1)
    order = np.maximum(point - at_hand - on_order, 0.0)
    return Advice(expected, point, point - expected, order)
