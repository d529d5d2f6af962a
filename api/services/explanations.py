"""How much each feature moves a prediction of a released model. The arithmetic is `ml_assets.core.explanations`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cartograph.releases.contents.base import ContentError, read_form
from cartograph.releases.contents.models import Explainer
from ml_assets.core.explanations import trees, turns

MOST_EXPLAINED = 100
"""A batch that asks for explanations has at most so many rows: each takes as long as some hundred predictions."""
_LEAST = 1e-7
# A float32 tells no probability nearer to 0 or 1, whose log-odds would be infinite.

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]
Predict = Callable[[Rows], Vector]


@dataclass(frozen=True)
class Explanation:
    """What the features of a row add to `base`, in the order of the model's features; with it that is the prediction.

    With `trees` the base is what the model says on average of the rows of the release, with `turns` of a typical one.
    """

    method: Literal["trees", "turns"]
    base: float
    contributions: Vector

    @property
    def total(self) -> float:
        """The prediction as it is explained: log-odds of a probability, else an amount."""
        return self.base + float(self.contributions.sum())


class ReleasedExplainer:
    """Explains the predictions of one model. Its method may be called from several threads."""

    def __init__(self, content: Explainer, predict: Predict) -> None:
        self._content = content
        self._predict = predict
        self._trees = trees.leaves(content.trees, len(content.features)) if content.trees else None
        self._reference = np.array([np.nan if one is None else one for one in content.reference])

    @classmethod
    def load(cls, folder: Path, file: str, features: Sequence[str], predict: Predict) -> ReleasedExplainer:
        """The explainer in the `file` of the release in `folder`.

        `predict` gives what is explained for rows of the model's `features`.

        Raises:
            ContentError: the file does not have the form, or is not about these features.
        """
        return cls(read_explainer(folder, file, features), predict)

    def explain(self, row: Rows) -> Explanation:
        """What each feature of `row`, of shape [k], adds."""
        if self._trees is not None:
            split = trees.contributions(self._trees, row.astype(np.float32))
            scale, offset = self._content.scale, self._content.offset
            return Explanation("trees", offset + scale * self._trees.base, scale * split)
        reference = self._reference.astype(row.dtype)
        base = float(self._predict(reference[None])[0])
        return Explanation("turns", base, turns.contributions(self._predict, reference, row))


def read_explainer(folder: Path, file: str, features: Sequence[str]) -> Explainer:
    """The `file` of the release in `folder`, by which a model of these features is explained.

    Raises:
        ContentError: the file does not have the form, or is not about these features.
    """
    content = read_form(folder, file, Explainer)
    if content.features != tuple(features):
        raise ContentError(f"{file} is about {', '.join(content.features)}, and the model takes others")
    return content


def log_odds(probabilities: Vector) -> Vector:
    """The log-odds of probabilities, which tell no more than 1e-7 from 0 or 1."""
    within = np.clip(probabilities, _LEAST, 1 - _LEAST)
    odds: Vector = np.log(within / (1 - within))
    return odds
