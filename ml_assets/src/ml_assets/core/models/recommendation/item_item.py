"""Which item leads to which: items × items matrices whose row says what a purchase of that item speaks for.

Each function learns such a matrix, keeps the strongest entries of each row, and gives the same bytes for the same
data on the same number of threads. A history's scores are its recency-weighted items times the matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.recommendation.histories import Histories, Sparse

NEIGHBOURS = 200
"""Entries kept of each row. EASE on Amazon's toys: an NDCG@10 of 0.0634 with 200, of 0.0633 with all 11,924."""
EASE_ITEMS = 15_000
"""The largest catalogue for EASE: one matrix of 15,000² float32 is 0.9 GB; above, nearest neighbours are used."""
WELL_CONDITIONED = 1e4
"""Above this bound on the condition number EASE computes in float64: float32 would keep fewer than three digits."""
WINDOW = 20
"""Transitions are counted between items that stand at most so far apart in a history."""
BLOCK = 1_000
ROUNDING = 1e-6
"""Weights of EASE that are smaller are rounding: each counted as an entry, and moved the scale of all."""


def ease(histories: Histories, regularisation: float) -> Sparse:
    """EASE (Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019), in closed form.

    Column j holds the weights of the ridge regression of item j on all other items, with the penalty
    `regularisation` (in purchases). Takes `items² × 4` bytes, twice that where the matrix is ill-conditioned.

    Raises:
        ValueError: there are more than `EASE_ITEMS` items.
    """
    if histories.size > EASE_ITEMS:
        raise ValueError(f"EASE takes at most {EASE_ITEMS} items, not {histories.size}: use cosine_neighbours.")
    return strongest(ease_dense(histories, regularisation))


def ease_dense(histories: Histories, regularisation: float) -> npt.NDArray[Any]:
    """EASE before pruning."""
    from scipy.linalg.lapack import get_lapack_funcs

    purchases = histories.matrix()
    gram = (purchases.T @ purchases).tocsr()
    bound = (float(gram.sum(axis=1).max()) + regularisation) / regularisation
    precision = np.float32 if bound < WELL_CONDITIONED else np.float64
    dense: npt.NDArray[Any] = gram.astype(precision).toarray(order="F")
    dense[np.diag_indices(histories.size)] += regularisation
    factor, invert = get_lapack_funcs(("potrf", "potri"), (dense,))
    dense, failed = factor(dense, lower=True, clean=False, overwrite_a=True)
    dense, failed_too = invert(dense, lower=True, overwrite_c=True)
    if failed or failed_too:
        raise np.linalg.LinAlgError(f"EASE: the matrix is not positive definite; raise {regularisation=}.")
    for start in range(0, histories.size, BLOCK):
        end = min(start + BLOCK, histories.size)
        dense[start:end, end:] = dense[end:, start:end].T
        corner = dense[start:end, start:end]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
    dense /= -np.diag(dense).copy()
    dense[np.diag_indices(histories.size)] = 0
    for start in range(0, histories.size, BLOCK):
        block = dense[start : start + BLOCK]
        block[np.abs(block) < ROUNDING] = 0
    return dense


def cosine_neighbours(histories: Histories) -> Sparse:
    """Cosine similarity of items by who bought them (`implicit`), without that of an item to itself."""
    from implicit.nearest_neighbours import CosineRecommender
    from scipy.sparse import csr_array, csr_matrix

    model = CosineRecommender(K=NEIGHBOURS + 1)
    model.fit(csr_matrix(histories.matrix(), dtype=np.float64), show_progress=False)
    found = csr_array(model.similarity, dtype=np.float32)
    found.setdiag(0)
    return strongest(found)


def transitions(histories: Histories, *, half_life: float, backward: float, damping: float) -> Sparse:
    """How often one item was bought after another, the nearer the more: a Markov chain that looks past the last item.

    A pair counts half with every `half_life` items between the two, pairs in the other direction `backward` times as
    much (items of one basket have no order), and each row is divided by its item's purchases to the power `damping`.
    """
    from scipy.sparse import csr_array, diags_array

    owners, shape = histories.owners, (histories.size, histories.size)
    pairs = [(gap, np.flatnonzero(owners[gap:] == owners[:-gap])) for gap in range(1, WINDOW + 1)]
    weights = np.concatenate([np.full(len(at), 0.5 ** ((gap - 1) / half_life), np.float32) for gap, at in pairs])
    first = np.concatenate([histories.items[at] for _, at in pairs])
    then = np.concatenate([histories.items[at + gap] for gap, at in pairs])
    ordered = csr_array((weights, (first, then)), shape=shape)
    bought = np.maximum(np.bincount(histories.items, minlength=histories.size), 1)
    found = diags_array(bought.astype(np.float32) ** -damping) @ (ordered + np.float32(backward) * ordered.T)
    return strongest(found.tocsr().astype(np.float32))


def strongest(matrix: Any, kept: int = NEIGHBOURS) -> Sparse:
    """The `kept` entries of each row that are largest in size, of a dense or sparse square matrix; the first of equals.

    Zeros are not kept.
    """
    from scipy.sparse import vstack

    blocks = (_strongest(matrix[start : start + BLOCK], kept) for start in range(0, matrix.shape[0], BLOCK))
    return vstack(list(blocks), format="csr")


def _strongest(block: Any, kept: int) -> Sparse:
    from scipy.sparse import csr_array

    if not isinstance(block, np.ndarray) and block.nnz > block.shape[0] * max(kept, block.shape[1] // 8):
        block = block.toarray()  # a partition of long rows takes a third of the time of their sort
    if isinstance(block, np.ndarray) and kept < block.shape[1]:
        sizes = np.abs(block)
        block = np.where(sizes >= np.partition(sizes, -kept, axis=1)[:, -kept, None], block, 0)
    found = csr_array(block)
    found.eliminate_zeros()
    found.sort_indices()
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    order = np.lexsort((-np.abs(found.data), rows))
    chosen = np.sort(order[np.arange(len(order)) - found.indptr[rows] < kept])
    values, places = found.data[chosen].astype(np.float32), (rows[chosen], found.indices[chosen])
    return csr_array((values, places), shape=found.shape)
