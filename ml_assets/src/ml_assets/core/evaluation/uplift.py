"""Scores of an uplift ranking and of the policy that follows from it, on customers that neither has learned from.

`gains` are doubly robust scores: unbiased for what the treatment adds to each customer's outcome, and very noisy. Means
of them are what can be told. How they are made is `ml_assets.core.causal.uplift`'s business.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation.classification import Interval

DRAWS = 200
SEED = 19
TWO_SIDED = 1.96
"""Standard errors on each side of a mean in its 95 % interval."""

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Policy(NamedTuple):
    """What treating some is worth for each customer of all, net of the cost, and against treating all of them."""

    share: float
    value: Interval
    all: Interval
    over_all: Interval

    @property
    def is_worse(self) -> bool:
        """Whether treating everybody or nobody is better beyond chance."""
        return self.over_all.high < 0 or self.value.high < 0


def qini(gains: Vector, ranking: Vector) -> Interval:
    """The area between the uplift curve of a ranking and that of treating at random, with its 95 % interval.

    Averaged over all shares that might be treated, by so much more does treating the highest in `ranking` add for each
    customer of all than treating as many at random (Radcliffe 2007; with these scores, Yadlowsky and others 2021).
    The interval is of a seeded bootstrap of the customers.
    """
    generator = np.random.default_rng(SEED)
    draws = [generator.integers(0, len(gains), len(gains)) for _ in range(DRAWS)]
    low, high = np.quantile([_area(gains[drawn], ranking[drawn]) for drawn in draws], [0.025, 0.975])
    return Interval(_area(gains, ranking), float(low), float(high))


def policy(gains: Vector, treats: Mask, cost: float) -> Policy:
    """What treating those marked by `treats` is worth, where a treatment costs `cost`."""
    net = gains - cost
    return Policy(
        share=float(treats.mean()), value=mean(treats * net), all=mean(net), over_all=mean((treats - 1.0) * net)
    )


def mean(values: Vector) -> Interval:
    """The mean with its 95 % interval by the normal distribution."""
    middle, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(middle, middle - TWO_SIDED * error, middle + TWO_SIDED * error)


def _area(gains: Vector, ranking: Vector) -> float:
    from scipy.stats import rankdata

    share = (rankdata(ranking) - 0.5) / len(ranking)
    return float(np.mean(gains * (share - 0.5)))
