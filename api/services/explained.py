"""What is answered to whom asks why a prediction is what it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from api.services.explanations import Explanation, ReleasedExplainer
from cartograph.releases.contents.models import ModelCard

LOG_ODDS = "log_odds"


def explained(explainer: ReleasedExplainer, card: ModelCard, row: npt.NDArray[Any], unit: str) -> dict[str, Any]:
    """The explanation of the prediction for `row`, of shape [k]."""
    found = explainer.explain(row)
    parts = zip((feature.name for feature in card.features), row.tolist(), found.contributions.tolist(), strict=True)
    return {
        "method": found.method,
        "unit": unit,
        "base_value": found.base,
        "prediction": found.total,
        "contributions": [
            {"feature": feature, "value": value, "contribution": part}
            for feature, value, part in sorted(parts, key=lambda one: -abs(one[2]))
        ],
    }


def without_values(explanation: dict[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """What `explained` told, with the values of the `hidden` features null. What each contributes stays."""
    shown = [part | {"value": None} if part["feature"] in hidden else part for part in explanation["contributions"]]
    return explanation | {"contributions": shown}


def all_explained(explainer: ReleasedExplainer, card: ModelCard, rows: npt.NDArray[Any], unit: str) -> dict[str, Any]:
    """The explanations of the predictions for `rows`, of shape [n, k], as lists over these."""
    found: Sequence[Explanation] = [explainer.explain(row) for row in rows]
    split = np.array([one.contributions for one in found])
    return {
        "method": found[0].method,
        "unit": unit,
        "base_value": found[0].base,
        "predictions": [one.total for one in found],
        "contributions": {feature.name: split[:, at].tolist() for at, feature in enumerate(card.features)},
    }
