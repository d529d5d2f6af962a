"""The lifetime-value model of a release: plain parameters, which `ml_assets.core` predicts with."""

from __future__ import annotations

from collections.abc import Container
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from api.services.explanations import ReleasedExplainer
from api.services.features import FeatureProblem, FeaturesError, GivenFeatures, Matrix
from cartograph.releases.contents.base import ContentError, read_form
from cartograph.releases.contents.files import CLV_CARD, CLV_MODEL, explanation_file
from cartograph.releases.contents.models import FeatureSpec, ModelCard
from ml_assets.core.models import clv

Vector = npt.NDArray[np.float64]


class LifetimeValues:
    """A loaded model and the date that it predicts from. Its methods may be called from several threads."""

    def __init__(self, card: ModelCard, model: clv.ClvModel, as_of: date) -> None:
        self.card = card
        self.explainer: ReleasedExplainer | None = None
        self._model = model
        self._as_of = as_of
        self._names = [feature.name for feature in card.features]
        longest = (as_of - model.start).days
        self.given = GivenFeatures([_of_a_customer(feature, longest) for feature in card.features])

    @classmethod
    def load(cls, folder: Path, as_of: date, listed: Container[str]) -> LifetimeValues:
        """Load the model of the release in `folder`, and what explains it where that is `listed`.

        Raises:
            ContentError: a file cannot be read, they do not belong together, or the model is too old for `as_of`.
        """
        card = read_form(folder, CLV_CARD, ModelCard)
        names = [feature.name for feature in card.features]
        if sorted(names) != sorted(clv.INPUTS):
            raise ContentError(f"{CLV_CARD} lists {', '.join(names)}, and must list {', '.join(clv.INPUTS)}")
        model = read_form(folder, CLV_MODEL, clv.ClvModel)
        try:
            model.passes(as_of, clv.HORIZON_DAYS)
        except ValueError as error:
            raise ContentError(f"{CLV_MODEL}: {error}") from None
        loaded = cls(card, model, as_of)
        explaining = explanation_file(clv.NAME)
        if explaining in listed:
            loaded.explainer = ReleasedExplainer.load(folder, explaining, names, loaded._worth)
        return loaded

    def values(self, rows: Matrix) -> clv.Values:
        """What customers with the features in `rows`, of shape [n, k], will bring.

        Raises:
            FeaturesError: a customer's latest order came before the first.
        """
        columns = dict(zip(self._names, rows.T, strict=True))
        wrong = np.flatnonzero(columns["recency_days"] > columns["tenure_days"])
        if len(wrong):
            which = "" if len(rows) == 1 else f" of row {wrong[0]}, counted from 0,"
            raise FeaturesError(
                [
                    FeatureProblem(
                        ["features", "recency_days"],
                        f"it{which} is more than tenure_days: the latest order cannot have come before the first",
                    )
                ]
            )
        return self._predict(columns)

    def _worth(self, rows: npt.NDArray[np.float64]) -> Vector:
        """The value of mixtures of two customers, whose latest order is their first where it would come before it."""
        columns = dict(zip(self._names, rows.T, strict=True))
        columns["recency_days"] = np.minimum(columns["recency_days"], columns["tenure_days"])
        return self._predict(columns).value

    def _predict(self, columns: dict[str, Vector]) -> clv.Values:
        days, tenure, recency = (columns[name].astype(np.int64) for name in clv.INPUTS[:3])
        return clv.predict(self._model, clv.Known(self._as_of, days, tenure, recency, columns[clv.INPUTS[3]]))


def _of_a_customer(feature: FeatureSpec, longest: int) -> FeatureSpec:
    """The feature as customers have it who have ordered, on days that the model's clock knows."""
    bounds = {"minimum": clv.LEAST[feature.name]}
    if feature.name != "spend_amount":
        bounds["maximum"] = float(longest)
    return feature.model_copy(update={"nullable": False, **bounds})
