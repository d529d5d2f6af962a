"""What the assets of trained classifiers share: their checks, the training step, and how they describe themselves.

What is asked of customers stands in `ml_assets.core.models`; the assets stand in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import classifier
from ml_assets.core.models.classifier import CALIBRATION_ERROR, Question
from ml_assets.core.models.classifier_training import Trained, train_classifier
from ml_assets.core.models.contests import classifier_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_classifier
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.marts import FEATURES, open_lake, pin, plain_failures, published
from ml_assets.defs.partitions import data_end
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.steps import (
    ENOUGH_DATA,
    Candidate,
    abstention,
    described,
    enough_spec,
    leak_result,
    leak_spec,
    parity_result,
    parity_spec,
    register,
    track,
    tracked,
)

LEAKING_AUC = 0.95
"""A single feature that ranks so well knows the answer."""


def check_specs(key: dg.AssetKey, rules: str) -> list[dg.AssetCheckSpec]:
    """The checks of a classifier; `rules` says in words what its AUC must be above."""
    return [
        enough_spec(key),
        dg.AssetCheckSpec("beats_baseline", asset=key, blocking=True, description=f"Its AUC is above that of {rules}."),
        dg.AssetCheckSpec(
            "beats_p_alive",
            asset=key,
            description="Its AUC is above that of the BG/NBD model, which knows only when and how often one ordered.",
        ),
        parity_spec(key),
        leak_spec(key, "AUC", LEAKING_AUC),
        dg.AssetCheckSpec(
            "is_calibrated",
            asset=key,
            description=f"Predicted and observed shares differ by at most {CALIBRATION_ERROR} on average over tenths.",
        ),
    ]


def train_and_register(
    context: dg.AssetExecutionContext,
    tracking: MlflowTracking,
    question: Question,
    judge: Callable[[Trained], Sequence[dg.AssetCheckResult]],
) -> dg.MaterializeResult:
    """Train, track, register; the version becomes the champion if the gate says so, by the checks of `judge`.

    A young shop has too little to learn from: then the champion, if there is one, stays, and what is downstream does
    without a model where there is none.
    """
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(["fct_orders"])])
        features, orders = inputs.selects["customer_features"], inputs.selects["fct_orders"]
        with lake.connect() as con:
            dates = as_of_dates(con, features)
            start, end = load_shop(get_settings()).start, data_end(dates)
            try:
                trained = train_classifier(con, question, features, orders, dates, data_start=start, data_end=end)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            fitted = parameters(trained)
            track(mlflow_run, fitted, measures(trained), inputs.snapshots)
            checks = judge(trained)
            contest = partial(classifier_contest, con, features, orders, trained)
            candidate = Candidate(
                question.name, trained.form.content, trained.card, "onnx", contest, fitted, of_classifier(trained)
            )
            version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def parameters(trained: Trained) -> dict[str, Any]:
    """What the model was trained with."""
    split, question = trained.split, trained.question
    return {
        **classifier.boosting(trained.training_rows),
        "calibration": "sigmoid",
        "horizon_days": question.horizon_days,
        "population": question.population,
        "training_from": split.training[0],
        "training_to": split.training[-1],
        "training_dates": len(split.training),
        "training_rows": trained.training_rows,
        "holdout": split.holdout,
        "features": len(trained.names),
    }


def measures(trained: Trained) -> dict[str, float]:
    """How good it is, its baselines, and how far its export is from it."""
    return tracked(trained.metrics, {f"{name}_auc": value for name, value in trained.baselines.items()}, trained.form)


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks that all classifiers have."""
    scores = trained.scores
    rule = max(trained.question.rules, key=lambda name: trained.baselines[name])
    best, p_alive, auc = trained.baselines[rule], trained.baselines["p_alive"], scores.auc.value
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and both labels",
            found=f"{trained.training_rows} rows of {len(trained.split.training)} as-of dates to train on",
        ),
        checked(
            "beats_baseline",
            auc > best,
            expected=f"an AUC above {best:.3f}, that of the {rule.replace('_', ' ')}",
            found=f"an AUC of {auc:.3f}",
            metadata={"auc": auc, f"{rule}_auc": best},
        ),
        checked(
            "beats_p_alive",
            auc > p_alive,
            expected=f"an AUC above {p_alive:.3f}, that of P(alive)",
            found=f"an AUC of {auc:.3f}",
            severity="warning",
            metadata={"auc": auc, "p_alive_auc": p_alive},
        ),
        parity_result(trained.form),
        leak_result(trained.feature_aucs, "AUC", LEAKING_AUC),
        checked(
            "is_calibrated",
            scores.ece <= CALIBRATION_ERROR,
            expected=f"an expected calibration error of at most {CALIBRATION_ERROR}",
            found=f"{scores.ece:.3f}",
            severity="warning",
            metadata={"ece": scores.ece},
        ),
    ]


def metadata(trained: Trained, version: str, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows of the model."""
    split, scores = trained.split, trained.scores
    return {
        **described(version, trained.training_rows, scores, trained.baselines, snapshots),
        "training_dates": f"{split.training[0]} to {split.training[-1]}",
        "holdout_date": str(split.holdout),
        "auc": scores.auc.value,
        "auc_interval": f"{scores.auc.low:.3f} to {scores.auc.high:.3f}",
        "brier": scores.brier,
        "lift_top_decile": scores.lift,
    }
