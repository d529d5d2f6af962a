"""Whether rows come from another population than earlier ones: one column at a time, and all of them together.

Which rows are compared, and what is too much, is decided in `core.monitoring` and by the checks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Column = npt.NDArray[np.float32]

TENTHS = 10
ROWS = 4_000
"""Of each side, drawn with SEED, so many are compared; more tell apart what is too small to matter."""
SEED = 17


class DomainShift(NamedTuple):
    """How well a classifier tells the rows of one side from those of the other, on rows that it has not seen.

    An `auc` of 0.5 is not at all; `p_value` is the chance of such a one where both come from one population.
    """

    auc: float
    p_value: float


def population_stability(reference: Column, current: Column) -> float:
    """The population stability index: sum of (c - r) ln(c / r) over the shares in tenths of `reference`, and of nulls.

    Shares have half a row added, so that an empty tenth has a finite weight. By the custom of credit scoring (Siddiqi
    2006, p. 136), above 0.1 is a small change and above 0.25 a large one.
    """
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, TENTHS + 1)[1:-1])) if len(known) else known
    shares = []
    for side in (reference, current):
        where = np.where(np.isnan(side), len(edges) + 1, np.searchsorted(edges, side, side="right"))
        counts = np.bincount(where, minlength=len(edges) + 2) + 0.5
        shares.append(counts / counts.sum())
    before, now = shares
    return float(((now - before) * np.log(now / before)).sum())


def kolmogorov_smirnov(reference: Column, current: Column) -> float:
    """The largest distance between the distribution functions of what is not null; 0 where a side has nothing."""
    from scipy.stats import ks_2samp

    sides = [side[~np.isnan(side)] for side in (reference, current)]
    return float(ks_2samp(*sides, method="asymp").statistic) if all(map(len, sides)) else 0.0


def domain_shift(reference: Matrix, current: Matrix) -> DomainShift:
    """Train trees on one half of both sides, let them rank the other, and the other way (Rabanser et al. 2019, ch. 3).

    The ranks of rows that were not trained on have the Mann-Whitney law where both sides are alike, so that the p-value
    needs no permutations; those of both halves are combined by Stouffer, and as these share their rows, 0.001 is the
    level for few false alarms. It sees a shift of 0.3 standard deviations in one of 20 columns, which a stability index
    of 0.1 does not.

    Raises:
        ValueError: a side has fewer than four rows.
    """
    from scipy.stats import combine_pvalues, mannwhitneyu
    from sklearn.ensemble import HistGradientBoostingClassifier

    if min(len(reference), len(current)) < 4:
        raise ValueError(f"At least four rows a side: got {len(reference)} and {len(current)}.")
    draw = np.random.default_rng(SEED)
    halves = tuple(
        zip(*(np.array_split(draw.permutation(side)[:ROWS], 2) for side in (reference, current)), strict=True)
    )
    aucs, chances = [], []
    for learned, told in (halves, halves[::-1]):
        trees = HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=8, learning_rate=0.1, early_stopping=False, random_state=SEED
        )
        rows = np.concatenate(learned)
        rows[:, np.isnan(rows).all(axis=0)] = 0  # the trees refuse columns without a value
        trees.fit(rows, np.repeat([0, 1], [len(side) for side in learned]))
        before, now = (trees.predict_proba(side)[:, 1] for side in told)
        found = mannwhitneyu(now, before, alternative="greater")
        aucs.append(float(found.statistic) / (len(now) * len(before)))
        chances.append(float(found.pvalue))
    return DomainShift(float(np.mean(aucs)), float(combine_pvalues(chances, method="stouffer").pvalue))
