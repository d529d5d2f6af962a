"""The BG/NBD model of Fader, Hardie and Lee (2005): customers order at their own rate until they drop out unseen.

Here a baseline of churn: it knows only how many days a customer ordered on, and when first and last.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Vector = npt.NDArray[np.float64]

DAYS_IN_UNIT = 30.0
"""Time is in months: parameters near 1 keep the likelihood's optimiser stable."""


class Parameters(NamedTuple):
    """Order rates are Gamma(r, alpha) per 30 days; the chance to drop out after an order is Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


class Histories(NamedTuple):
    """Repeat orders, and the times (30 days) from the first order to the last one and to the as-of date."""

    repeats: Vector
    last: Vector
    observed: Vector


def histories(rows: pa.Table) -> Histories:
    """The histories that rows of the feature table tell; the customers must have ordered."""
    tenure, recency, days = (
        rows[name].cast(pa.float64()).to_numpy() for name in ("tenure_days", "recency_days", "order_days_count")
    )
    return Histories(days - 1, (tenure - recency) / DAYS_IN_UNIT, tenure / DAYS_IN_UNIT)


def fit(data: Histories) -> Parameters:
    """Maximum likelihood, equation (6) of the paper, over log parameters."""
    from scipy.optimize import minimize
    from scipy.special import betaln, gammaln

    x, last, observed = data
    some = x > 0

    def loss(logs: Vector) -> float:
        r, alpha, a, b = np.exp(logs)
        common = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
        still = -(r + x) * np.log(alpha + observed)
        gone = np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + last)
        return -float(np.mean(common + np.where(some, np.logaddexp(still, gone), still)))

    bounds = [(-6.0, 6.0)] * 4
    found = minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=bounds)
    return Parameters(*np.exp(found.x))


def no_order_probability(parameters: Parameters, data: Histories, days: float) -> Vector:
    """The probability of no order in the next `days`: dropped out, or alive and silent."""
    r, alpha, a, b = parameters
    x, last, observed = data
    odds_gone = np.where(x > 0, a / (b + np.maximum(x, 1) - 1) * ((alpha + observed) / (alpha + last)) ** (r + x), 0.0)
    alive = 1 / (1 + odds_gone)
    silent = ((alpha + observed) / (alpha + observed + days / DAYS_IN_UNIT)) ** (r + x)
    probability: Vector = 1 - alive * (1 - silent)
    return probability
