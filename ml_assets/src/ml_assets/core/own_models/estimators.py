"""The estimator of a model's file: imported by its path, with its parameters, and the steps that it needs before it.

Which paths are allowed is a setting; that the exported form gives the same is held by a check of each training.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.models.export import PARITY
from ml_assets.core.models.training import exported, fit_calibrated
from ml_assets.core.own_models.form import Estimator
from ml_assets.core.own_models.target import meant

SEED = 7
TRIED_ROWS = 300
TAKES_NULLS = frozenset({"sklearn.ensemble.HistGradientBoostingClassifier"})
"""The ONNX forms of other trees take a null another way than scikit-learn: probabilities differ by up to 0.6."""
TREES = ("sklearn.ensemble.", "sklearn.tree.")
"""Trees ask for an order only, which scaling does not change; in float32 it moves rows over thresholds, by 0.3."""


def steps(given: Estimator) -> list[Any]:
    """The classifier, after medians in the place of nulls and standard scales where it needs these.

    One that draws has a fixed seed where the file has none.

    Raises:
        OwnModelError: there is no such classifier, or it does not take the parameters.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    classifier = _classifier(given)
    if given.path in TAKES_NULLS:
        return [classifier]
    medians = SimpleImputer(strategy="median")
    return [medians, classifier] if given.path.startswith(TREES) else [medians, StandardScaler(), classifier]


def _classifier(given: Estimator) -> Any:
    from sklearn.base import is_classifier

    module, _, name = given.path.rpartition(".")
    try:
        made = getattr(import_module(module), name)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise OwnModelError(f"estimator.path: {given.path} cannot be made: {error}.") from None
    if not is_classifier(made):
        raise OwnModelError(f"estimator.path: {given.path} is no scikit-learn classifier.")
    known = made.get_params()
    if unknown := sorted(given.params.keys() - known.keys()):
        raise OwnModelError(
            f"estimator.params: {name} has no parameter {unknown[0]}.{meant(unknown[0], known)} It has "
            f"{', '.join(known)}."
        )
    seed = {"random_state": SEED} if "random_state" in known else {}
    return made.set_params(**seed | given.params)


def try_out(given: Estimator) -> None:
    """Fit the estimator to some made rows, export it, and hold the exported form against it.

    Raises:
        OwnModelError: one of these fails, which is so for any data.
    """
    draw = np.random.default_rng(SEED)
    rows = draw.normal(size=(TRIED_ROWS, 3)).astype(np.float32)
    rows[draw.random(rows.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(rows[:, 0]) + draw.normal(size=TRIED_ROWS) > 0).astype(np.int64)
    made = steps(given)
    try:
        model = fit_calibrated(rows, labels, np.arange(TRIED_ROWS), made)
        difference = exported(model, "tried", rows).parity
    except Exception as error:  # noqa: BLE001 - what scikit-learn and skl2onnx raise has no common base but this
        raise OwnModelError(
            f"estimator: {given.path} cannot be fitted and exported to ONNX with these parameters: "
            f"{' '.join(str(error).split())[:300]}. Correct estimator.params, or choose another estimator."
        ) from None
    if difference > PARITY:
        raise OwnModelError(
            f"estimator: the ONNX form of {given.path} gives other probabilities, by up to {difference:.2g}. Choose "
            "another estimator: predictions are made with the ONNX form."
        )
