"""A model of a release: holds given features against its declaration, and runs it with ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from cartograph.releases.contents import (
    ONNX_INPUT,
    ONNX_OUTPUT,
    ContentError,
    FeatureSpec,
    ModelCard,
)

_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Beyond it a JSON number is not one integer to every reader (RFC 8259, section 6).
_INTEGER_MAX = 2**53 - 1
_POSITIVE = 1


@dataclass(frozen=True)
class FeatureProblem:
    """What is wrong with one of the given features; `name` is None for what is wrong with all of them."""

    name: str | None
    message: str


class FeaturesError(ValueError):
    """The given features are not those that the model takes."""

    def __init__(self, problems: list[FeatureProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class ReleasedModel:
    """A loaded model. Its methods may be called from several threads."""

    def __init__(self, card: ModelCard, session: ort.InferenceSession) -> None:
        self.card = card
        self._session = session
        self._given = _shape(card.features)
        self._specs = {feature.name: feature for feature in card.features}

    @classmethod
    def load(cls, folder: Path, model: str, card: str) -> ReleasedModel:
        """Load the files `model` and `card` of the release in `folder`.

        Raises:
            ContentError: the card or the model cannot be read, or they do not belong together.
        """
        try:
            declared = ModelCard.model_validate_json((folder / card).read_bytes())
        except ValidationError as error:
            raise ContentError(f"{card} cannot be used: {error}") from None
        session = _session(folder, model)
        inputs = {node.name: node.shape for node in session.get_inputs()}
        if list(inputs) != [ONNX_INPUT] or inputs[ONNX_INPUT][1:] != [len(declared.features)]:
            raise ContentError(
                f"{model} takes {inputs}, and {card} lists {len(declared.features)} features: "
                f"it must take one input {ONNX_INPUT} of as many columns"
            )
        if ONNX_OUTPUT not in [node.name for node in session.get_outputs()]:
            raise ContentError(f"{model} has no output {ONNX_OUTPUT}")
        return cls(declared, session)

    def row(self, given: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """The given features as the model's input, of shape [1, k] with NaN for null.

        Raises:
            FeaturesError: a feature is missing, unknown, of another type, not finite or out of its range.
        """
        try:
            valid = self._given.validate_python(given)
        except ValidationError as error:
            raise FeaturesError([self._problem(found) for found in error.errors(include_url=False)]) from None
        values = [valid[feature.name] for feature in self.card.features]
        return np.array([[math.nan if value is None else value for value in values]], dtype=np.float32)

    def probability(self, row: npt.NDArray[np.float32]) -> float:
        """The probability of what the model predicts for the `row`, of shape [1, k].

        Raises:
            FeaturesError: the model has no answer, as when its sums overflow.
        """
        (probabilities,) = self._session.run([ONNX_OUTPUT], {ONNX_INPUT: row})
        probability = float(probabilities[0, _POSITIVE])
        if math.isnan(probability):
            raise FeaturesError([FeatureProblem(None, "the model has no answer for this combination of values")])
        return min(max(probability, 0.0), 1.0)  # float32 sums may end a rounding error outside

    def is_review(self, row: npt.NDArray[np.float32], probability: float) -> bool:
        """Whether a look at the case in `row` costs less than is expected to be lost; no for a model without review."""
        review = self.card.review
        if review is None:
            return False
        at = next(at for at, feature in enumerate(self.card.features) if feature.name == review.amount)
        return probability * float(row[0, at]) > review.cost

    def _problem(self, found: Any) -> FeatureProblem:
        name = str(found["loc"][0]) if found["loc"] else None
        spec = self._specs.get(name or "")
        if spec is None:
            known = ", ".join(self._specs)
            return FeatureProblem(name, f"the model has no such feature; it takes {known}" if name else found["msg"])
        takes = f"{spec.name} takes {_kind(spec)}: {spec.description}"
        wrong = "it is missing" if found["type"] == "missing" else found["msg"]
        return FeatureProblem(name, f"{wrong}; {takes}")


def _session(folder: Path, model: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(folder / model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no common base but this
        raise ContentError(f"{model} cannot be loaded: {error}") from None


def _shape(features: tuple[FeatureSpec, ...]) -> TypeAdapter[dict[str, Any]]:
    # A TypedDict made here, not a model: its keys may be any names. Any: type checkers know only those written out.
    make: Any = TypedDict
    shape = make("Features", {feature.name: _annotation(feature) for feature in features})
    shape.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(shape)


def _annotation(feature: FeatureSpec) -> Any:
    low = -math.inf if feature.minimum is None else feature.minimum
    high = math.inf if feature.maximum is None else feature.maximum
    annotation: Any
    match feature.type:
        case "boolean":
            annotation = bool
        case "bigint":
            bounds = Field(ge=math.ceil(max(low, -_INTEGER_MAX)), le=math.floor(min(high, _INTEGER_MAX)))
            annotation = Annotated[int, bounds]
        case "double":
            annotation = Annotated[float, Field(ge=max(low, -_FLOAT32_MAX), le=min(high, _FLOAT32_MAX))]
    return annotation | None if feature.nullable else annotation


def _kind(feature: FeatureSpec) -> str:
    kind = {"bigint": "a whole number", "double": "a number", "boolean": "true or false"}[feature.type]
    low = "" if feature.minimum is None else f" from {feature.minimum:g}"
    high = "" if feature.maximum is None else f" up to {feature.maximum:g}"
    return f"{kind}{low}{high}{' or null' if feature.nullable else ''}"
