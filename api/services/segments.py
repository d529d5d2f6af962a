"""The segments of a release: those of its customers are released with them, and here it is explained why."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from api.services.explanations import ReleasedExplainer, read_explainer
from api.services.model import require_listed
from cartograph.releases.contents.base import read_form
from cartograph.releases.contents.files import SEGMENTS_CARD, SEGMENTS_MODEL, explanation_file
from cartograph.releases.contents.models import Explainer, ModelCard
from ml_assets.core.models import segments
from ml_assets.core.models.segments import SegmentModel


class Segments:
    """A loaded model. Its methods may be called from several threads."""

    def __init__(self, card: ModelCard, model: SegmentModel, explainer: Explainer | None) -> None:
        self.card = card
        self._model = model
        self._explainer = explainer
        self._names = [feature.name for feature in card.features]

    @classmethod
    def load(cls, folder: Path, listed: Container[str]) -> Segments:
        """Load the model of the release in `folder`, and what explains it where that is `listed`.

        Raises:
            ContentError: a file cannot be read, or they do not belong together.
        """
        card = read_form(folder, SEGMENTS_CARD, ModelCard)
        model = read_form(folder, SEGMENTS_MODEL, SegmentModel)
        require_listed(SEGMENTS_CARD, card, segments.inputs_of(model.behaviours))
        names = [feature.name for feature in card.features]
        file = explanation_file(segments.NAME)
        return cls(card, model, read_explainer(folder, file, names) if file in listed else None)

    def explainer(self, number: int) -> ReleasedExplainer | None:
        """What explains by how much a customer is nearer to the segment of that number than to any other."""
        if self._explainer is None:
            return None
        return ReleasedExplainer(self._explainer, partial(self._nearer, number))

    def _nearer(self, number: int, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self._model.nearer(pa.table(dict(zip(self._names, rows.T, strict=True))), number)
