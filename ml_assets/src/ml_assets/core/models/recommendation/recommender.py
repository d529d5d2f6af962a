"""Ranking: what a customer, a basket, a session or a stranger is shown, which items are similar, and why.

One model serves all of them: an items × items matrix for those who have a history that it knows, and a fallback of
category affinity and popularity for everybody and every product else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.recommendation.histories import Histories, Integers, Sparse, Vector

PRIOR = 5.0
"""A customer's category shares are drawn to everybody's as by so many purchases, and so is a product's popularity."""
FALLBACK = 1e-6
"""The fallback's weight beside the matrix: it orders what no history leads to, and nothing else."""
BATCH_CELLS = 4_000_000
"""Cells of a dense batch of scores: 16 MB, whatever the size of the catalogue."""
NOTHING = -1

HISTORY, CATEGORY, POPULAR = range(3)
SOURCES = ("history", "category", "popularity")
"""Where a recommendation comes from: bought items that lead to it, a category of theirs, or everybody's purchases."""


class Recommended(NamedTuple):
    """Histories × places, the best first: items, scores, numbers of `SOURCES`, and the bought item that spoke most.

    An item is `NOTHING` where the catalogue has no more; so is `because` where the source is not the history.
    """

    items: Integers
    scores: Vector
    sources: Integers
    because: Integers


class Recommender(NamedTuple):
    """`weights` (items × items) is for histories whose items count half with every `half_life` later ones.

    `popular` is each item's popularity, best of late; `categories` each item's category, as numbers from 0 on (all
    0 where none are known); `offered` the items that are on sale, none other is recommended.
    """

    weights: Sparse
    half_life: float
    popular: Vector
    categories: Integers
    offered: npt.NDArray[np.bool_]

    def scores(self, histories: Histories) -> Vector:
        """Histories × items, on sale or not: the larger, the better. A history may be new to the model, or empty."""
        return self._personal(histories) + np.float32(FALLBACK) * self._fallback(histories)

    def recommend(self, histories: Histories, count: int, *, exclude_seen: bool) -> Recommended:
        """The best `count` items for each history: of a customer, a basket or a session; an empty one is a stranger's.

        With `exclude_seen`, the history's own items are left out: see `REPEATS_MATTER_FROM`.
        """
        parts = [
            self._recommend(histories.chosen(rows), min(count, histories.size), exclude_seen)
            for rows in batches(histories.rows, histories.size)
        ]
        return Recommended(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def similar(self, count: int) -> Recommended:
        """For each item the `count` items that its purchase speaks for, then its category's most popular ones."""
        size = len(self.popular)
        alone = Histories(np.arange(size + 1), np.arange(size), size)
        return self.recommend(alone, count, exclude_seen=True)

    def _personal(self, histories: Histories) -> Vector:
        scores: Vector = (histories.matrix(self.half_life) @ self.weights).toarray()
        return scores

    def _fallback(self, histories: Histories) -> Vector:
        shares = popularity_in_category(self.popular, self.categories)
        if not self.categories.any():
            return np.broadcast_to(shares, (histories.rows, len(shares)))
        return category_affinity(histories, self.categories, self.popular)[:, self.categories] * shares

    def _recommend(self, histories: Histories, count: int, exclude_seen: bool) -> Recommended:
        personal = self._personal(histories)
        scores = personal + np.float32(FALLBACK) * self._fallback(histories)
        scores[:, ~self.offered] = -np.inf
        if exclude_seen:
            scores[histories.owners, histories.items] = -np.inf
        items = top(scores, count)
        rows = np.arange(histories.rows)[:, None]
        scores = scores[rows, items]
        bought = np.zeros((histories.rows, int(self.categories.max()) + 1), bool)
        bought[histories.owners, self.categories[histories.items]] = bought.shape[1] > 1
        sources = np.where(bought[rows, self.categories[items]], CATEGORY, POPULAR)
        sources[personal[rows, items] > FALLBACK] = HISTORY
        because = np.where(sources == HISTORY, self._because(histories, items), NOTHING)
        missing = np.isneginf(scores)
        items[missing] = because[missing] = NOTHING
        return Recommended(items, scores, sources, because)

    def _because(self, histories: Histories, items: Integers) -> Integers:
        owners, count = histories.owners, items.shape[1]
        because = np.full(items.shape, NOTHING)
        if not len(owners):
            return because
        led = np.asarray(self.weights[np.repeat(histories.items, count), items[owners].ravel()]).reshape(-1, count)
        led = led * (0.5 ** (histories.ages / self.half_life))[:, None]
        filled = np.flatnonzero(np.diff(histories.starts))
        best = np.zeros(items.shape)
        best[filled] = np.maximum.reduceat(led, histories.starts[filled], axis=0)
        purchases, places = np.nonzero(led == best[owners])
        because[owners[purchases], places] = histories.items[purchases]
        return because


def blend(matrices: Sequence[Sparse], shares: Sequence[float]) -> Sparse:
    """One items × items matrix of several, each scaled to a mean entry of size 1 and weighted by its share."""
    scaled = [
        np.float32(share / np.abs(matrix.data).mean()) * matrix
        for matrix, share in zip(matrices, shares, strict=True)
        if share and matrix.nnz
    ]
    return sum(scaled[1:], start=scaled[0]) if scaled else matrices[0]


def category_affinity(histories: Histories, categories: Integers, popular: Vector) -> Vector:
    """Histories × categories: each one's shares, smoothed by `PRIOR` purchases from everybody's, in `popular`.

    An empty history has everybody's shares, whoever else is asked about. Each row sums to 1.
    """
    known = int(categories.max()) + 1
    cells = histories.owners * known + categories[histories.items]
    counts = np.bincount(cells, minlength=histories.rows * known).reshape(histories.rows, known)
    totals = np.bincount(categories, popular)
    everybody = (totals + 1) / (totals.sum() + known)
    smoothed = counts + PRIOR * everybody
    affinity: Vector = (smoothed / smoothed.sum(axis=1, keepdims=True)).astype(np.float32)
    return affinity


def popularity_in_category(popular: Vector, categories: Integers) -> Vector:
    """Each item's share of its category's popularity, smoothed: a product without history has a small one."""
    sizes = np.maximum(np.bincount(categories), 1)[categories]
    totals = np.bincount(categories, popular)[categories]
    shares: Vector = ((popular + PRIOR / sizes) / (totals + PRIOR)).astype(np.float32)
    return shares


def top(scores: Vector, count: int) -> Integers:
    """The columns of the `count` largest scores of each row, the largest first; of equals, the first column."""
    count = min(count, scores.shape[1])
    if not count or not len(scores):
        return np.empty((len(scores), count), np.int64)
    least = np.partition(scores, -count, axis=1)[:, -count, None]
    rows, columns = np.nonzero(scores >= least)
    order = np.lexsort((-scores[rows, columns], rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(scores)))[:-1]])
    found: Integers = columns[order][starts[:, None] + np.arange(count)]
    return found


def batches(count: int, size: int) -> list[Integers]:
    """The numbers below `count` in batches whose scores of `size` items fit in memory; one is empty where all are."""
    rows = max(1, BATCH_CELLS // size)
    return [np.arange(start, min(start + rows, count)) for start in range(0, max(count, 1), rows)]
