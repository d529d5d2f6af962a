"""Whether an amount's effect can be told from these rows: enough of them, variation, and balance.

Effects of which the truth is known are asked for in `refutations`; how the treatment was chosen is `choice`.
"""

from __future__ import annotations

import numpy as np

from ml_assets.core.causal.continuous.data import Data
from ml_assets.core.causal.continuous.double_machine_learning import Left
from ml_assets.core.causal.finding import Balance, Gate
from ml_assets.core.causal.gates import kish
from ml_assets.core.causal.study import Study, Vector
from ml_assets.core.causal.within import by_cluster

FEWEST_ROWS, FEWEST_CLUSTERS = 200, 10
LEAST_LEFT = 0.02
"""The share of the treatment's variance that confounders and levels must leave."""
LEAST_EFFECTIVE = 50.0
"""Rows that what is left must be spread over, by Kish's formula."""
LARGEST_CORRELATION = 0.1


def too_few(study: Study) -> Gate | None:
    """The gate that refuses fewer rows or clusters than tell an effect.

    Raises:
        ValueError: treatment or outcome have gaps.
    """
    for name, values in (("treatment", study.treatment), ("outcome", study.outcome)):
        if not np.isfinite(values).all():
            gaps = int((~np.isfinite(values)).sum())
            raise ValueError(f"The {name} is no number in {gaps} of {len(study)} rows. Leave these rows out.")
    clusters = len(study) if study.clusters is None else len(np.unique(study.clusters))
    if len(study) >= FEWEST_ROWS and clusters >= FEWEST_CLUSTERS:
        return None
    inside = "" if study.clusters is None else f" in {clusters} clusters"
    needs = f"{FEWEST_ROWS} rows in {FEWEST_CLUSTERS} clusters" if inside else f"{FEWEST_ROWS}"
    return Gate("arm_sizes", False, float(len(study)), f"{len(study)} rows{inside}, and {needs} are needed")


def positivity(left: Left, data: Data) -> Gate:
    """Whether the treatment still varies once the confounders are held fixed, and in more than a few rows."""
    share = left.share
    moves = left.weights * left.columns[:, 0] ** 2
    rows, units = kish(moves), kish(by_cluster(moves[:, None], data.clusters)[0].ravel())
    passed = share >= LEAST_LEFT and rows >= LEAST_EFFECTIVE and units >= FEWEST_CLUSTERS
    inside, of = (f" of {units:.0f} clusters", f" of {FEWEST_CLUSTERS}") if data.clusters is not None else ("", "")
    detail = (
        f"{share:.1%} of the treatment's variance is left by what is held fixed, as if in {rows:.0f} rows{inside}; "
        f"at least {LEAST_LEFT:.0%} in {LEAST_EFFECTIVE:.0f} rows{of} must be"
    )
    if share >= LEAST_LEFT and not passed:
        detail += ". A few very large amounts decide: ask for the effect of its logarithm, or cap it"
    return Gate("overlap", passed, share, detail)


def balances(study: Study, left: Left, data: Data) -> tuple[Balance, ...]:
    """|Correlation| of each confounder with the treatment as it is, and with what is left of it."""
    found = []
    for place, name in enumerate(study.confounders.names):
        values = study.confounders.values[data.rows, place]
        known = np.isfinite(values)
        if known.sum() > 2 and values[known].std() > 0:
            both = [
                correlation(values[known], treatment[known], left.weights[known])
                for treatment in (data.columns[:, 0], left.columns[:, 0])
            ]
            found.append(Balance(name, *both))
    return tuple(found)


def balance(found: tuple[Balance, ...]) -> Gate:
    """Whether what is left of the treatment goes with none of the confounders."""
    worst = max(found, key=lambda one: one.after, default=Balance("none", 0.0, 0.0))
    detail = (
        f"what is left of the treatment goes with {worst.covariate} by a correlation of {worst.after:.3f}; it must "
        f"stay under {LARGEST_CORRELATION}"
    )
    return Gate("balance", worst.after < LARGEST_CORRELATION, worst.after, detail)


def correlation(one: Vector, other: Vector, weights: Vector) -> float:
    """The size of the weighted correlation of two columns; 0 where one does not vary."""
    covariance = np.cov(one, other, aweights=weights)
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(abs(covariance[0, 1]) / spread) if spread > 0 else 0.0
