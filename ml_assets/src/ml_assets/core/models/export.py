"""The form in which a model leaves training: ONNX, which cannot execute code, and how far it is from the original.

No pickle crosses this line. Where the bytes are kept is `ml_assets.core.registry`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.models import ONNX_INPUT, ONNX_OUTPUT

PARITY = 1e-5
"""Largest difference of a probability between a model and its ONNX form."""
PARITY_ROWS = 20_000
SEED = 11

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


def to_onnx(classifier: Any, name: str, width: int) -> bytes:
    """The classifier as ONNX: float32 [rows, `width`] in, probabilities [rows, 2] out (and a label).

    The same classifier gives the same bytes.
    """
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType

    model = convert(
        classifier,
        name=name,
        initial_types=[(ONNX_INPUT, FloatTensorType([None, width]))],
        options={"zipmap": False},
    )
    versions = sorted(model.opset_import, key=lambda one: one.domain)  # skl2onnx lists a set: by Python's hash seed
    del model.opset_import[:]
    model.opset_import.extend(versions)
    return bytes(model.SerializeToString(deterministic=True))


def sha256(content: bytes) -> str:
    """The SHA-256 of `content` in hex: the identity of an exported model."""
    return hashlib.sha256(content).hexdigest()


def predictor(content: bytes) -> Callable[[Matrix], Vector]:
    """The ONNX model as a function: the probability of the positive class for each row."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def predict(matrix: Matrix) -> Vector:
        probabilities = session.run([ONNX_OUTPUT], {ONNX_INPUT: matrix})[0]
        positive: Vector = np.asarray(probabilities, dtype=np.float64)[:, 1]
        return positive

    return predict


def predict(content: bytes, matrix: Matrix) -> Vector:
    """The probability of the positive class for each row, by the ONNX model."""
    return predictor(content)(matrix)


def parity(classifier: Any, content: bytes, matrix: Matrix) -> tuple[float, int]:
    """The worst absolute difference between the probabilities of both forms, and the number of rows compared.

    Where `matrix` has fewer than 20,000 rows, rows are added whose columns are drawn from it independently, so that
    paths of the trees are taken that no customer has taken yet.
    """
    missing = max(0, PARITY_ROWS - len(matrix))
    draws = np.random.default_rng(SEED).integers(0, len(matrix), size=(missing, matrix.shape[1]))
    rows = np.vstack([matrix, np.take_along_axis(matrix, draws, axis=0)]) if missing else matrix
    worst = np.abs(classifier.predict_proba(rows)[:, 1] - predict(content, rows)).max()
    return float(worst), len(rows)
