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
from ml_assets.core.evaluation.classification import MEASURES
from ml_assets.core.evaluation.promotion import Contest
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models.classifier import (
    CALIBRATION_ERROR,
    CALIBRATION_SHARE,
    Events,
    Question,
    orders,
    tolerated_error,
)
from ml_assets.core.models.classifier_training import Trained, train_classifier
from ml_assets.core.models.contests import classifier_contest
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.findings import of_classifier
from ml_assets.core.models.report import About
from ml_assets.core.own_models.form import OwnModel
from ml_assets.core.registry import ModelRegistry, NoModel, Registered
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
    """The checks of a classifier of orders; `rules` says in words what its AUC must be above."""
    p_alive = dg.AssetCheckSpec(
        "beats_p_alive",
        asset=key,
        description="Its AUC is above that of the BG/NBD model, which knows only when and how often one ordered.",
    )
    return [*specs_of_any(key, f"Its AUC is above that of {rules}, beyond chance."), p_alive]


def specs_of_any(key: dg.AssetKey, bar: str) -> list[dg.AssetCheckSpec]:
    """The checks of any classifier; `bar` says by what it beats its baselines."""
    return [
        enough_spec(key),
        dg.AssetCheckSpec("beats_baseline", asset=key, blocking=True, description=bar),
        parity_spec(key),
        leak_spec(key, "AUC", LEAKING_AUC),
        dg.AssetCheckSpec(
            "is_calibrated",
            asset=key,
            description=(
                f"Predicted and observed shares differ by at most {CALIBRATION_ERROR} on average over tenths, for rare "
                f"labels by at most {CALIBRATION_SHARE} of their rate or what may be chance."
            ),
        ),
    ]


def train_and_register(
    context: dg.AssetExecutionContext,
    tracking: MlflowTracking,
    question: Question,
    judge: Callable[[Trained], Sequence[dg.AssetCheckResult]],
    about: About,
    marts: Sequence[str] = ("fct_orders",),
    events: Events = orders,
    own: OwnModel | None = None,
) -> dg.MaterializeResult:
    """Train, track, register; the version becomes the champion if the gate says so, by the checks of `judge`.

    `about` begins its card. `events` tells of the `marts` what is asked about; `own` is the shop's own model, where it
    is one.

    A young shop has too little to learn from: then the champion, if there is one, stays, and what is downstream does
    without a model where there is none.
    """
    lake = open_lake()
    with plain_failures(), tracking.run(context) as mlflow_run:
        inputs = pin(lake, [FEATURES, *published(marts)])
        features = inputs.selects["customer_features"]
        with lake.connect() as con:
            happened = events(con, inputs.selects)
            dates = as_of_dates(con, features)
            start, end = load_shop(get_settings()).start, data_end(dates)
            try:
                trained = train_classifier(con, question, features, happened, dates, data_start=start, data_end=end)
            except NotEnoughData as reason:
                return abstention(context, mlflow_run, reason)
            fitted = parameters(trained)
            origin = {} if own is None else {"definition": own.model_dump_json()}
            track(mlflow_run, fitted, measures(trained), inputs.snapshots, **origin)
            checks = judge(trained)
            contest = partial(_contest, own, partial(classifier_contest, con, features, happened, trained))
            findings = of_classifier(trained, about)
            candidate = Candidate(question.name, trained.form.content, trained.card, "onnx", contest, fitted, findings)
            version = register(ModelRegistry(tracking.uri), mlflow_run, candidate, checks)
    return dg.MaterializeResult(metadata=metadata(trained, version, inputs.snapshots), check_results=checks)


def _contest(own: OwnModel | None, contest: Callable[[Registered], Contest], champion: Registered) -> Contest:
    """The contest with the champion.

    Raises:
        NoModel: the file of the shop's own model has asked something else of the champion.
    """
    if own is not None and not own.asks_as(champion.definition):
        raise NoModel("it was trained for another target or population than the file has by now")
    return contest(champion)


def parameters(trained: Trained) -> dict[str, Any]:
    """What the model was trained with."""
    split, question = trained.split, trained.question
    estimator = question.steps(trained.training_rows)[-1]
    return {
        "estimator": type(estimator).__name__,
        **estimator.get_params(),
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
    baselines = {f"{name}_{trained.question.measure}": value for name, value in trained.baselines.items()}
    return tracked(trained.metrics, baselines, trained.form)


def judge(trained: Trained) -> list[dg.AssetCheckResult]:
    """The checks that all classifiers have; with P(alive) where it is one of the baselines."""
    question, scores, baselines = trained.question, trained.scores, trained.baselines
    measure, reached = MEASURES[question.measure], trained.measured.value
    rule, gain = trained.best_rule, trained.gain
    bar = baselines[rule] + question.margin
    more = f" and {question.margin:g} more" if question.margin else ""
    tolerated = tolerated_error(scores.positives / scores.rows, scores.rows)
    p_alive = [
        checked(
            "beats_p_alive",
            reached > baselines[name],
            expected=f"{measure} above {baselines[name]:.3f}, that of P(alive)",
            found=f"{measure} of {reached:.3f}",
            severity="warning",
            metadata={question.measure: reached, f"p_alive_{question.measure}": baselines[name]},
        )
        for name in baselines.keys() & {"p_alive"}
    ]
    return [
        checked(
            ENOUGH_DATA,
            True,
            expected="enough days and both labels",
            found=f"{trained.training_rows} rows of {len(trained.split.training)} as-of dates to train on",
        ),
        checked(
            "beats_baseline",
            gain.low > question.margin,
            expected=f"{measure} above {bar:.3f}, that of the {rule.replace('_', ' ')}{more}, beyond chance",
            found=f"{measure} of {reached:.3f}: {gain.value:+.3f}, from {gain.low:+.3f} to {gain.high:+.3f}",
            metadata={
                question.measure: reached,
                f"{rule}_{question.measure}": baselines[rule],
                "gain": gain.value,
                "gain_low": gain.low,
                "gain_high": gain.high,
            },
        ),
        *p_alive,
        parity_result(trained.form),
        leak_result(trained.feature_aucs, "AUC", LEAKING_AUC),
        checked(
            "is_calibrated",
            scores.ece <= tolerated,
            expected=f"an expected calibration error of at most {tolerated:.2g}",
            found=f"{scores.ece:.2g}",
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
        trained.question.measure: trained.measured.value,
        "brier": scores.brier,
        "lift_top_decile": scores.lift,
    }
