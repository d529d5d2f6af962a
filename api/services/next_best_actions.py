"""The model of next best actions of a release: its advice is released by customer, and here it is explained."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from api.services.explanations import ReleasedExplainer
from api.services.model import require_listed
from cartograph.releases.contents.base import read_form
from cartograph.releases.contents.files import UPLIFT_CARD, UPLIFT_MODEL, explanation_file
from cartograph.releases.contents.models import ModelCard
from ml_assets.core.causal.uplift import INPUTS
from ml_assets.core.models import campaign_uplift
from ml_assets.core.models.campaign_uplift import UpliftModel

Vector = npt.NDArray[np.float64]


class NextBestActions:
    """A loaded model. Its explainer may be called from several threads."""

    def __init__(self, card: ModelCard, model: UpliftModel) -> None:
        self.card = card
        self.explainer: ReleasedExplainer | None = None
        self._model = model
        self._names = [feature.name for feature in card.features]

    @classmethod
    def load(cls, folder: Path, listed: Container[str]) -> NextBestActions:
        """Load the model of the release in `folder`, and what explains it where that is `listed`.

        Raises:
            ContentError: a file cannot be read, or they do not belong together.
        """
        card = read_form(folder, UPLIFT_CARD, ModelCard)
        require_listed(UPLIFT_CARD, card, INPUTS)
        model = read_form(folder, UPLIFT_MODEL, UpliftModel)
        loaded = cls(card, model)
        explaining = explanation_file(campaign_uplift.NAME)
        if explaining in listed and model.offered:
            loaded.explainer = ReleasedExplainer.load(folder, explaining, loaded._names, loaded._margin)
        return loaded

    def _margin(self, rows: npt.NDArray[np.float64]) -> Vector:
        """What the best action adds for mixtures of two customers, of shape [n, k] with NaN for null.

        Who has ordered in a mixture has done so on the first day where nothing says when, and their latest order is
        their first where it would come before it.
        """
        columns = dict(zip(self._names, rows.T, strict=True))
        ordered = columns["order_days_count"] > 0
        tenure = np.where(ordered, np.nan_to_num(columns["tenure_days"]), columns["tenure_days"])
        recency = np.where(ordered, np.fmin(columns["recency_days"], tenure), columns["recency_days"])
        table = pa.table(columns | {"tenure_days": tenure, "recency_days": recency})
        return campaign_uplift.best_of(self._model.offered, table)[1].margin
