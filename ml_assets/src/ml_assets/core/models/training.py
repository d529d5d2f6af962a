"""What every training of a classifier does around its own label and split: the columns, the fit, the exported form.

What is predicted, and by what it is judged, stands in the model's own modules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_assets.core.models import export

FOLDS = 3
FEWEST = 10 * FOLDS
"""Rows of each label that a training needs: ten in each fold of the calibration."""

Matrix = npt.NDArray[np.float32]


class Exported(NamedTuple):
    """A classifier as ONNX, and the worst difference of its probabilities over `parity_rows` rows."""

    content: bytes
    parity: float
    parity_rows: int


def informative(rows: pa.Table, excluded: Collection[str]) -> tuple[str, ...]:
    """The columns of `rows` that are not `excluded` and have two different values; the others tell nothing apart."""
    names = [name for name in rows.schema.names if name not in excluded]
    return tuple(name for name in names if len(rows[name].drop_null().unique()) > 1)


def fit_calibrated(
    matrix: Matrix, labels: npt.NDArray[np.int64], groups: npt.NDArray[Any], parameters: Mapping[str, Any]
) -> Any:
    """Fit gradient-boosted trees with sigmoid calibration; an sklearn classifier.

    The calibration learns from predictions for groups that the trees had not seen. Sigmoid and not isotonic, and no
    categorical columns: their ONNX forms are wrong by 0.012 and 0.99.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold

    folds = list(GroupKFold(FOLDS).split(matrix, labels, groups=groups))
    trees = HistGradientBoostingClassifier(**parameters)
    model = CalibratedClassifierCV(trees, method="sigmoid", cv=folds, ensemble=False)
    return model.fit(matrix, labels)


def exported(model: Any, name: str, matrix: Matrix) -> Exported:
    """The model as ONNX, held against itself on the rows of `matrix` and on rows drawn from them."""
    content = export.to_onnx(model, name, matrix.shape[1])
    return Exported(content, *export.parity(model, content, matrix))
