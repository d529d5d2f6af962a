"""A model of a release that says a probability: runs it with ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Collection, Container
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from api.services.explanations import ReleasedExplainer, log_odds
from api.services.features import FeatureProblem, FeaturesError, GivenFeatures
from cartograph.releases.contents.base import ContentError, read_form
from cartograph.releases.contents.files import explanation_file
from cartograph.releases.contents.models import ONNX_INPUT, ONNX_OUTPUT, ModelCard

_POSITIVE = 1
_NO_ANSWER = "the model has no answer for this combination of values"

Rows = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]


class ReleasedModel:
    """A loaded model. Its methods may be called from several threads."""

    def __init__(self, card: ModelCard, session: ort.InferenceSession) -> None:
        self.card = card
        self.given = GivenFeatures(card.features)
        self.explainer: ReleasedExplainer | None = None
        self._session = session

    @classmethod
    def load(cls, folder: Path, model: str, card: str, listed: Container[str]) -> ReleasedModel:
        """Load the files `model` and `card` of the release in `folder`, and what explains it where that is `listed`.

        Raises:
            ContentError: a file cannot be read, or they do not belong together.
        """
        declared = read_form(folder, card, ModelCard)
        session = _session(folder, model)
        inputs = {node.name: node.shape for node in session.get_inputs()}
        if list(inputs) != [ONNX_INPUT] or inputs[ONNX_INPUT][1:] != [len(declared.features)]:
            raise ContentError(
                f"{model} takes {inputs}, and {card} lists {len(declared.features)} features: "
                f"it must take one input {ONNX_INPUT} of as many columns"
            )
        if ONNX_OUTPUT not in [node.name for node in session.get_outputs()]:
            raise ContentError(f"{model} has no output {ONNX_OUTPUT}")
        loaded = cls(declared, session)
        names = [feature.name for feature in declared.features]
        explaining = explanation_file(Path(model).stem)
        if explaining in listed:
            loaded.explainer = ReleasedExplainer.load(
                folder, explaining, names, lambda rows: log_odds(loaded._run(rows))
            )
        return loaded

    def probability(self, row: npt.NDArray[Any]) -> float:
        """The probability of what the model predicts for the `row`, of shape [1, k].

        Raises:
            FeaturesError: the model has no answer, as when its sums overflow.
        """
        (found,) = self._session.run([ONNX_OUTPUT], {ONNX_INPUT: row.astype(np.float32, copy=False)})
        probability = float(found[0, _POSITIVE])
        if math.isnan(probability):
            raise FeaturesError([FeatureProblem(["features"], _NO_ANSWER)])
        return min(max(probability, 0.0), 1.0)  # float32 sums may end a rounding error outside

    def probabilities(self, rows: npt.NDArray[Any]) -> Vector:
        """The probability of what the model predicts for each of the `rows`, of shape [n, k] with NaN for null.

        Raises:
            FeaturesError: the model has no answer for one of them, as when its sums overflow.
        """
        found = self._run(rows)
        wrong = np.flatnonzero(np.isnan(found))
        if len(wrong):
            raise FeaturesError([FeatureProblem(["features"], f"{_NO_ANSWER} of row {wrong[0]}, counted from 0")])
        bounded: Vector = np.clip(found, 0.0, 1.0)
        return bounded

    def is_review(self, row: npt.NDArray[Any], probability: float) -> bool:
        """Whether a look at the case in `row` costs less than is expected to be lost; no for a model without review."""
        review = self.card.review
        if review is None:
            return False
        at = next(at for at, feature in enumerate(self.card.features) if feature.name == review.amount)
        return probability * float(row[0, at]) > review.cost

    def _run(self, rows: npt.NDArray[Any]) -> Vector:
        given = np.ascontiguousarray(rows, dtype=np.float32)
        (both,) = self._session.run([ONNX_OUTPUT], {ONNX_INPUT: given})
        found: Vector = both[:, _POSITIVE].astype(np.float64)
        return found


def require_listed(file: str, card: ModelCard, needed: Collection[str]) -> None:
    """Raise ContentError where the card in `file` lacks features that the model needs."""
    if missing := sorted(set(needed) - {feature.name for feature in card.features}):
        raise ContentError(f"{file} does not list {', '.join(missing)}")


def _session(folder: Path, model: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(folder / model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base but this
        raise ContentError(f"{model} cannot be loaded: {error}") from None
