"""Matrix factorisation, which the chosen model is held against: alternating least squares by `implicit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.core.models.recommendation.histories import Histories

SEED = 7


class Factors:
    """Items as vectors; a history becomes a vector by least squares, whether or not it was learned from."""

    def __init__(self, histories: Histories, *, factors: int = 128, confidence: float = 10.0) -> None:
        """Learn the vectors (Hu, Koren and Volinsky 2008): a purchase counts `confidence` times a non-purchase."""
        from implicit.cpu.als import AlternatingLeastSquares

        self._model: Any = AlternatingLeastSquares(
            factors=factors, regularization=1.0, alpha=confidence, iterations=10, random_state=SEED
        )
        self._model.fit(_matrix(histories), show_progress=False)

    def scores(self, histories: Histories) -> npt.NDArray[np.float32]:
        """Histories × items: how well each item suits."""
        vectors = self._model.recalculate_user(np.arange(histories.rows), _matrix(histories))
        scores: npt.NDArray[np.float32] = vectors @ self._model.item_factors.T
        return scores


def _matrix(histories: Histories) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(histories.matrix())
