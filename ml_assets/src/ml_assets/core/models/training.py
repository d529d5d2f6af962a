"""What every training of a classifier does around its own label and split: the columns, the fit, the exported form.

What is predicted, and by what it is judged, stands in the model's own modules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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


def boosted_trees(parameters: Mapping[str, Any]) -> list[Any]:
    """The steps of a classifier of gradient-boosted trees, which take nulls as they are."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return [HistGradientBoostingClassifier(**parameters)]


def fit_calibrated(
    matrix: Matrix, labels: npt.NDArray[np.int64], groups: npt.NDArray[Any], steps: Sequence[Any]
) -> Any:
    """Fit `steps`, transformers of the columns and a classifier last, with sigmoid calibration; an sklearn classifier.

    The calibration learns from predictions for groups that the classifier had not seen. Sigmoid and not isotonic, and
    no categorical columns: their ONNX forms are wrong by 0.012 and 0.99. The transformers stand outside of it: with a
    pipeline inside, the ONNX form is wrong by 0.5.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    *transformers, last = steps
    folds = list(GroupKFold(FOLDS).split(matrix, labels, groups=groups))
    calibrated = CalibratedClassifierCV(last, method="sigmoid", cv=folds, ensemble=False)
    model = make_pipeline(*transformers, calibrated) if transformers else calibrated
    with threadpool_limits(1):  # several add up histograms as they end: the last digits would be others each time
        return model.fit(matrix, labels)


def exported(model: Any, name: str, matrix: Matrix) -> Exported:
    """The model as ONNX, held against itself on the rows of `matrix` and on rows drawn from them."""
    content = export.to_onnx(model, name, matrix.shape[1])
    return Exported(content, *export.parity(model, content, matrix))
