"""The Gamma-Gamma model of spend of Fader and Hardie (2013), "The Gamma-Gamma Model of Monetary Value".

A customer's orders vary around their own mean, and means vary between customers: a mean over few orders is drawn
towards that of all. How often customers order is `bg_nbd`'s business, and independent of it by assumption.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

LOG_BOUND = 12.0
"""Parameters lie within e±12."""


class NoMeanSpend(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """Spend has no mean that could be expected of a customer. The message says why."""


class Parameters(NamedTuple):
    """An order is Gamma(p, v), and v varies between customers as Gamma(q, gamma)."""

    p: float
    q: float
    gamma: float

    @property
    def mean(self) -> float:
        """The mean spend of an order over all customers; infinite where q is at most 1."""
        return self.p * self.gamma / (self.q - 1) if self.q > 1 else float("inf")


def fit(orders: Vector, mean_spend: Vector) -> Parameters:
    """Maximum likelihood, equation (1a) of the note, from the number of orders and the mean spend of customers.

    Both must be positive. The scale of money is taken out while searching, so that any currency converges alike.

    Raises:
        NoMeanSpend: nobody has spent anything, or spend varies so much between customers that it has no mean.
    """
    from scipy.optimize import minimize
    from scipy.special import digamma, gammaln

    if not len(mean_spend):
        raise NoMeanSpend("Nobody has spent more than nothing on average.")
    scale = float(np.average(mean_spend, weights=orders))
    x, spend = orders, mean_spend / scale

    def loss(logs: Vector) -> tuple[float, Vector]:
        p, q, gamma = np.exp(logs)
        total, shape = gamma + x * spend, p * x + q
        value = (
            gammaln(shape) - gammaln(p * x) - gammaln(q) + q * np.log(gamma)
            + (p * x - 1) * np.log(spend) + p * x * np.log(x) - shape * np.log(total)
        )  # fmt: skip
        of_p = x * (digamma(shape) - digamma(p * x) + np.log(spend) + np.log(x) - np.log(total))
        of_q = digamma(shape) - digamma(q) + np.log(gamma) - np.log(total)
        of_gamma = q / gamma - shape / total
        gradient = np.array([of_p.mean() * p, of_q.mean() * q, of_gamma.mean() * gamma])
        return -float(value.mean()), -gradient

    found = minimize(
        loss,
        np.log([2.0, 3.0, 1.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LOG_BOUND, LOG_BOUND)] * 3,
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    p, q, gamma = (float(value) for value in np.exp(found.x))
    if q <= 1:
        raise _no_mean(q)
    return Parameters(p, q, gamma * scale)


def expected_spend(parameters: Parameters, orders: Vector, mean_spend: Vector) -> Vector:
    """The expected mean spend of each customer's future orders, equation (5); without orders that of all customers.

    Raises:
        NoMeanSpend: the parameters have no mean.
    """
    p, q, gamma = parameters
    if q <= 1:
        raise _no_mean(q)
    expected: Vector = (p * gamma + p * orders * np.where(orders > 0, mean_spend, 0.0)) / (p * orders + q - 1)
    return expected


def _no_mean(q: float) -> NoMeanSpend:
    return NoMeanSpend(f"Spend varies so much between customers that it has no mean (q = {q:.2f}).")
