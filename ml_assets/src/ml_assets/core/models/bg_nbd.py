"""The BG/NBD model of Fader, Hardie and Lee (2005), "Counting Your Customers" the Easy Way, Marketing Science 24(2).

Customers order at their own rate, and after each repeat order some leave unseen. How often, and when first and last
they ordered is all that it knows. Time is in any unit; one in which customers order about once keeps the optimiser
stable. What an order is worth is `gamma_gamma`'s business, the two together are `clv`'s.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Vector = npt.NDArray[np.float64]

DAYS_IN_UNIT = 30.0
"""The unit of time of `histories`: parameters near 1 keep the likelihood's optimiser stable."""
LOG_BOUND = 12.0
"""Parameters lie within e±12; one that runs to the bound tells that the data do not hold it."""
TOO_NEAR_ONE = 1e-5
"""`expected_orders` divides by a - 1; so near to 1 it loses more digits than moving `a` aside costs."""

QUANTILES = 200
"""Of the drop-out chance; within 1e-3 of the exact mean."""


class Parameters(NamedTuple):
    """Order rates are Gamma(r, alpha) per unit of time; the chance to drop out after an order is Beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


class Histories(NamedTuple):
    """Repeat orders, and the times from the first order to the last one and to the end of what is known."""

    repeats: Vector
    last: Vector
    observed: Vector


def histories(rows: pa.Table) -> Histories:
    """The histories, in units of 30 days, that rows of the feature table tell; the customers must have ordered."""
    tenure, recency, days = (
        rows[name].cast(pa.float64()).to_numpy() for name in ("tenure_days", "recency_days", "order_days_count")
    )
    return Histories(days - 1, (tenure - recency) / DAYS_IN_UNIT, tenure / DAYS_IN_UNIT)


def fit(data: Histories) -> Parameters:
    """Maximum likelihood, equation (6) of the paper, over log parameters with exact gradients.

    Takes 0.1 s for 20,000 customers: those with the same history count once.
    """
    from scipy.optimize import minimize

    unique, weights = np.unique(np.column_stack(data), axis=0, return_counts=True)
    merged = Histories(*np.ascontiguousarray(unique.T))

    def loss(logs: Vector) -> tuple[float, Vector]:
        parameters = Parameters(*np.exp(logs))
        value, gradient = _log_likelihood(parameters, merged, weights / weights.sum())
        return -value, -gradient * parameters

    bounds = [(-LOG_BOUND, LOG_BOUND)] * 4
    found = minimize(
        loss, np.zeros(4), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    return Parameters(*(float(value) for value in np.exp(found.x)))


def log_likelihood(parameters: Parameters, data: Histories) -> float:
    """The log-likelihood of all customers together."""
    return _log_likelihood(parameters, data, np.ones(len(data.repeats)))[0]


def alive_probability(parameters: Parameters, data: Histories) -> Vector:
    """The probability that each customer has not dropped out; 1 for who ordered once."""
    from scipy.special import expit

    r, alpha, a, b = parameters
    x, last, observed = data
    log_odds_gone = (
        np.log(a) - np.log(b + np.maximum(x, 1) - 1) + (r + x) * (np.log(alpha + observed) - np.log(alpha + last))
    )
    alive: Vector = np.where(x > 0, expit(-log_odds_gone), 1.0)
    return alive


def no_order_probability(parameters: Parameters, data: Histories, time: float) -> Vector:
    """The probability of no order in the next `time` units: dropped out, or alive and silent."""
    r, alpha, _, _ = parameters
    silent = ((alpha + data.observed) / (alpha + data.observed + time)) ** (r + data.repeats)
    probability: Vector = 1 - alive_probability(parameters, data) * (1 - silent)
    return probability


def expected_orders(parameters: Parameters, data: Histories, time: float | Vector) -> Vector:
    """The expected number of orders of each customer in the next `time` units, equation (10) of the paper.

    By Euler's transformation of its hypergeometric function, whose own arguments grow with the orders and overflow.
    Where `a` is so large that the transformed one does as well, the mean over the drop-out chance is taken itself.
    """
    from scipy.special import hyp2f1

    r, alpha, a, b = parameters
    if abs(a - 1) < TOO_NEAR_ONE:
        a = 1 + TOO_NEAR_ONE
    x = data.repeats
    passed = time / (alpha + data.observed + time)
    with np.errstate(all="ignore"):
        rest = (1 - passed) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, passed)
    orders: Vector = (a + b + x - 1) / (a - 1) * (1 - rest)
    lost = ~np.isfinite(orders)
    if lost.any():
        orders[lost] = _mean_over_dropout(
            r + x[lost], np.broadcast_to(time, x.shape)[lost] / (alpha + data.observed[lost]), a, b + x[lost]
        )
    expected: Vector = orders * alive_probability(parameters, data)
    return expected


def expected_repeats(parameters: Parameters, time: Vector) -> Vector:
    """The expected number of repeat orders of a new customer within `time` units, equation (9) of the paper."""
    nothing = np.zeros(len(time))
    return expected_orders(parameters, Histories(nothing, nothing, nothing), time)


def _mean_over_dropout(shape: Vector, time: Vector, a: float, b: Vector) -> Vector:
    """The mean of (1 - (1 + p time)**-shape) / p over p from Beta(a, b), at its quantiles: what a customer who is alive
    orders in `time`, in units of the scale of the gamma law of the rate."""
    from scipy.special import betaincinv

    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    p = np.maximum(betaincinv(a, b[:, None], middles), np.finfo(float).tiny)
    mean: Vector = (-np.expm1(-shape[:, None] * np.log1p(p * time[:, None])) / p).mean(axis=1)
    return mean


def _log_likelihood(parameters: Parameters, data: Histories, weights: Vector) -> tuple[float, Vector]:
    """The weighted log-likelihood and its gradient by r, alpha, a and b."""
    from scipy.special import betaln, digamma, gammaln

    r, alpha, a, b = parameters
    x, last, observed = data
    orders = r + x
    common = gammaln(orders) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    stays = -orders * np.log(alpha + observed)
    gone = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - orders * np.log(alpha + last), -np.inf)
    either = np.logaddexp(stays, gone)
    share = np.exp(gone - either)
    of_rate = (
        digamma(orders) - digamma(r) + np.log(alpha)
        - (1 - share) * np.log(alpha + observed) - share * np.log(alpha + last)
    )  # fmt: skip
    of_scale = r / alpha - orders * ((1 - share) / (alpha + observed) + share / (alpha + last))
    of_a = digamma(a + b) - digamma(a + b + x) + share / a
    of_b = digamma(b + x) - digamma(b) + digamma(a + b) - digamma(a + b + x) - share / (b + np.maximum(x, 1) - 1)
    gradient = np.array([float(weights @ part) for part in (of_rate, of_scale, of_a, of_b)])
    return float(weights @ (common + either)), gradient
