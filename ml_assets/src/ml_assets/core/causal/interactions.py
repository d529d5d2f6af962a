"""Products of two confounders that tell treatment and outcome, which splines of each alone do not hold fixed.

A treatment that goes to the young who live far away, where these spend more, is confounded by the product of age and
distance, and by neither. Whether there is such a one is looked up; of a treatment that was dealt out there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.study import Covariates, Labels, Matrix, Study, Vector

LEVEL = 0.001
"""How often chance takes any product for one that tells the treatment, or for one that tells the outcome."""
MOST_PAIRED = 20
"""Of more columns the first are paired."""
MOST_HELD = 5


class Product(NamedTuple):
    """Two columns and their product, each from its mean in standard deviations; how surely it tells both, as a z."""

    first: str
    second: str
    values: Vector
    surety: float

    @property
    def name(self) -> str:
        """What it is called among the confounders."""
        return f"{self.first} × {self.second}"


def with_products(study: Study) -> tuple[Study, tuple[Product, ...]]:
    """The study with the products of its confounders that tell both the treatment and the outcome; and these.

    Each is held against the treatment and against the outcome with the main effects, and their squares, taken out of
    all (Frisch, Waugh and Lovell), and with the treatment taken out of the outcome. Both z must exceed what chance
    gives the largest of them (Bonferroni).
    """
    found = sorted(_telling(study), key=lambda one: -one.surety)[:MOST_HELD]
    if not found:
        return study, ()
    held = study.confounders
    columns = np.column_stack([held.values, *(one.values for one in found)])
    confounders = held._replace(names=(*held.names, *(one.name for one in found)), values=columns)
    return replace(study, confounders=confounders), tuple(found)


def told(products: tuple[Product, ...]) -> tuple[str, ...]:
    """A warning of products that were held fixed, where there are some."""
    if not products:
        return ()
    names = ", ".join(f"{one.first} and {one.second}" for one in products)
    return (f"Held fixed, too, as it told both the treatment and the outcome: the product of {names}.",)


def _telling(study: Study) -> Iterator[Product]:
    from scipy.stats import norm

    names, columns = _numbers(study.confounders)
    pairs = list(combinations(range(len(names)), 2))
    if not pairs:
        return
    arms = study.treatment.astype(np.int64)
    levels = np.eye(int(arms.max()) + 1)[arms][:, 1:]
    main = np.linalg.qr(np.column_stack([np.ones(len(arms)), columns, columns**2]))[0]
    with_arms = np.linalg.qr(np.column_stack([main, levels]))[0]
    treatments, outcome = _left(main, levels), _left(with_arms, study.outcome)
    bound = float(norm.isf(LEVEL / (2 * len(pairs) * levels.shape[1])))
    for first, second in pairs:
        product = columns[:, first] * columns[:, second]
        alone, beside = _left(main, product), _left(with_arms, product)
        surety = min(
            max(_z(alone * treatment, study.clusters) for treatment in treatments.T),
            _z(beside * outcome, study.clusters),
        )
        if surety > bound:
            yield Product(names[first], names[second], product, surety)


def _numbers(confounders: Covariates) -> tuple[list[str], Matrix]:
    """The columns that vary and are no codes of words, in standard deviations from their mean; empty is at the mean."""
    chosen = [
        (name, values)
        for name, values in zip(confounders.names, confounders.values.T, strict=True)
        if "=" not in name and np.nanstd(values) > 0
    ][:MOST_PAIRED]
    scaled = [np.nan_to_num((values - np.nanmean(values)) / np.nanstd(values)) for _, values in chosen]
    return [name for name, _ in chosen], np.column_stack(scaled) if scaled else np.empty((len(confounders.values), 0))


def _left(basis: Matrix, values: Matrix) -> Matrix:
    """What an orthonormal basis leaves of columns."""
    residual: Matrix = values - basis @ (basis.T @ values)
    return residual


def _z(scores: Vector, clusters: Labels | None) -> float:
    """How many standard errors the sum of scores is from 0, whatever their spread (White 1980)."""
    if clusters is not None:
        scores = np.bincount(np.unique(clusters, return_inverse=True)[1], scores).astype(np.float64)
    return float(abs(scores.sum()) / max(np.sqrt((scores**2).sum()), 1e-300))
