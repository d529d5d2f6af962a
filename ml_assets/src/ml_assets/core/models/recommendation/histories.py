"""What each customer bought, in order: one compact form that all recommendation models learn from and predict for.

A basket and an anonymous session are histories as well, of somebody without a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float32]
Sparse = Any
"""A `scipy.sparse.csr_array` of float32; scipy has no types."""

REPEATS_MATTER_FROM = 0.05
"""From this share of repeat purchases on, what a customer has already is recommended again.

Found from data: among Amazon's reviews of toys no product comes twice, and each seen product in a list is a place lost;
in UCI Online Retail 32 % of the purchases after a customer's first are of a product which they had before.
"""


class Histories(NamedTuple):
    """The items of history `h`, oldest first, are `items[starts[h] : starts[h + 1]]`, each below `size`."""

    starts: Integers
    items: Integers
    size: int

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], size: int) -> Histories:
        """Histories of sequences of item numbers, of a catalogue of `size` items."""
        lengths = [len(sequence) for sequence in sequences]
        items = np.fromiter((item for sequence in sequences for item in sequence), np.int64, sum(lengths))
        return cls(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), items, size)

    @property
    def rows(self) -> int:
        """How many histories these are."""
        return len(self.starts) - 1

    @property
    def owners(self) -> Integers:
        """The history that each item belongs to."""
        return np.repeat(np.arange(self.rows), np.diff(self.starts))

    @property
    def ages(self) -> Integers:
        """How many items of the same history came after each item."""
        return self.starts[1:][self.owners] - 1 - np.arange(len(self.items))

    def kept(self, mask: npt.NDArray[np.bool_]) -> Histories:
        """The histories without the items where `mask` is false."""
        lengths = np.bincount(self.owners[mask], minlength=self.rows)
        return Histories(np.concatenate([[0], np.cumsum(lengths)]), self.items[mask], self.size)

    def chosen(self, histories: Integers) -> Histories:
        """Some of the histories, in the order that is given."""
        lengths = np.diff(self.starts)[histories]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.starts[histories] - starts[:-1], lengths) + np.arange(starts[-1])
        return Histories(starts, self.items[places], self.size)

    def matrix(self, half_life: float | None = None) -> Sparse:
        """Histories × items, float32: 1 where an item occurs or, with a half-life, the sum of its recency weights.

        An item's weight halves with every `half_life` items that came after it.
        """
        from scipy.sparse import csr_array

        weights = np.ones(len(self.items)) if half_life is None else 0.5 ** (self.ages / half_life)
        shape = (self.rows, self.size)
        found = csr_array((weights.astype(np.float32), (self.owners, self.items)), shape=shape)
        found.sum_duplicates()
        if half_life is None:
            found.data[:] = 1
        return found


def popularity(histories: Histories) -> Vector:
    """Purchases of each item: the baseline that every model has to beat."""
    return np.bincount(histories.items, minlength=histories.size).astype(np.float32)


def popularity_of_late(histories: Histories, days_ago: npt.NDArray[Any], half_life: float) -> Vector:
    """Purchases of each item, by which strangers are shown it; each was `days_ago` and counts half in `half_life` days.

    `days_ago` has an entry for each purchase.
    """
    weights = 0.5 ** (days_ago / half_life)
    return np.bincount(histories.items, weights, minlength=histories.size).astype(np.float32)


def repeat_share(histories: Histories) -> float:
    """The share of purchases, after each customer's first, of an item which that customer had bought before."""
    following = len(histories.items) - int(np.count_nonzero(np.diff(histories.starts)))
    distinct = histories.matrix().nnz
    return (len(histories.items) - distinct) / following if following else 0.0
