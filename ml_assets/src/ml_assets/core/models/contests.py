"""How a trained model of each kind is held against the champion: on which rows, by which loss, for which subgroups.

The rows' outcomes lie after all that either has learned from. What follows is `ml_assets.core.evaluation.promotion`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from statistics import median
from time import perf_counter

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.words import counted
from ml_assets.core.evaluation.classification import calibration_bins, calibration_error
from ml_assets.core.evaluation.promotion import Contest, Mask, NotComparable, Vector
from ml_assets.core.features.customers import Marts, column_values
from ml_assets.core.models import classifier, clv
from ml_assets.core.models.classifier_training import Trained
from ml_assets.core.models.export import predictor
from ml_assets.core.models.scoring import card_of, probabilities
from ml_assets.core.registry import Registered

BRIER_MARGIN = 0.002
"""A squared error so little larger, of some 0.15, is no inferiority."""
ERROR_MARGIN = 0.01
"""As a share of the champion's mean absolute error."""
FEWEST_DAYS = 28
"""Lifetime values are compared on so many days of orders: four weeks, each weekday as often as the others."""
TENURES = (90, 365)
"""Where the first order's age in days splits new customers, those of the first year, and old ones."""
TIMED = 50


def classifier_contest(
    con: duckdb.DuckDBPyConnection, features: str, events: str, trained: Trained, champion: Registered
) -> Contest:
    """Both models' squared errors on the holdout of the challenger, whose outcomes neither was trained on.

    A model learns from outcomes before its own holdout only, so the champion is judged fairly on any that is as late.

    Raises:
        NotComparable: the champion's holdout is later.
        NoModel: the champion takes a feature that there is no more.
    """
    question, seen, holdout = trained.question, card_of(champion).as_of, trained.split.holdout
    if holdout < seen:
        raise NotComparable(
            f"the champion has learned from outcomes up to {seen}, and the challenger's holdout of {holdout} is earlier"
        )
    rows = classifier.labelled_rows(con, question, features, events, [holdout])
    matrix, challenger = column_values(rows, trained.names), predictor(trained.form.content)
    labels, before, after = classifier.target(question, rows), probabilities(champion, rows), challenger(matrix)
    return Contest(
        loss="squared error",
        window=(holdout, holdout + timedelta(days=question.horizon_days)),
        champion=(before - labels) ** 2,
        challenger=(after - labels) ** 2,
        margin=BRIER_MARGIN,
        miscalibration=(
            calibration_error(calibration_bins(labels, before)),
            calibration_error(calibration_bins(labels, after)),
        ),
        tolerated=classifier.CALIBRATION_ERROR,
        groups=groups(rows),
        newer_days=(holdout - seen).days,
        latency_ms=latency(lambda: challenger(matrix[:1])),
    )


def clv_contest(
    con: duckdb.DuckDBPyConnection,
    features: str,
    marts: Marts,
    trained: clv.Trained,
    data_start: date,
    data_end: date,
    champion: Registered,
) -> Contest:
    """Absolute errors of net revenue in the days after all that the champion was fitted on, up to HOLDOUT_DAYS.

    A registered model is fitted on all of its data, so these days are the champion's future and the challenger's past.
    What is held against the champion is therefore the challenger's method, fitted anew on what the champion knew.

    Raises:
        NotComparable: there are fewer than FEWEST_DAYS such days.
        NotEnoughData: the features of the champion's as-of date are gone.
    """
    old = clv.ClvModel.model_validate_json(champion.content)
    days = min(clv.HOLDOUT_DAYS, (data_end - old.as_of).days)
    if days < FEWEST_DAYS:
        since = counted(max(days, 0), "day")
        raise NotComparable(
            f"the champion was fitted on all data before {old.as_of}; since then there is {since} of orders, and "
            f"{FEWEST_DAYS} are needed to compare on"
        )
    new = clv.fit(con, features, marts, old.as_of, data_start)
    rows = clv.ordered_rows(con, features, old.as_of)
    customers = clv.known(rows, old.as_of)
    _, actual, _ = clv.outcomes(con, features, marts, old.as_of, days)
    before, after = (clv.predict_days(model, customers, days)[1] for model in (old, new))
    errors, total = np.abs(before - actual), float(actual.sum())
    one = clv.known(rows.slice(0, 1), old.as_of)
    return Contest(
        loss="absolute error of revenue",
        window=(old.as_of, old.as_of + timedelta(days=days)),
        champion=errors,
        challenger=np.abs(after - actual),
        margin=ERROR_MARGIN * float(errors.mean()),
        miscalibration=(_off(before, total), _off(after, total)),
        tolerated=clv.TOTAL_WITHIN,
        groups=groups(rows),
        newer_days=(trained.model.as_of - old.as_of).days,
        latency_ms=latency(lambda: clv.predict(new, one)),
    )


def groups(rows: pa.Table) -> dict[str, Mask]:
    """The subgroups of feature rows that a new model must not do much worse for: by tenure, loyalty tier and opt-in."""
    tenure = rows["tenure_days"].cast(pa.float64()).to_numpy()
    young, old = TENURES
    found: dict[str, Mask] = {
        f"the first order is less than {young} days old": tenure < young,
        f"the first order is {young} to {old} days old": (tenure >= young) & (tenure <= old),
        f"the first order is more than {old} days old": tenure > old,
    }
    for name in ("loyalty_rank", "email_opt_in"):
        values = rows[name].cast(pa.float64()).to_numpy()
        found |= {f"{name} is {value:g}": values == value for value in np.unique(values[~np.isnan(values)])}
    return found


def latency(predict: Callable[[], object]) -> float:
    """The median time of `predict` in milliseconds, of some calls."""

    def timed() -> float:
        begun = perf_counter()
        predict()
        return (perf_counter() - begun) * 1000

    return median(timed() for _ in range(TIMED))


def _off(predicted: Vector, total: float) -> float:
    """By which share of the total the predictions' sum is off; 1 where nothing was spent."""
    return abs(float(predicted.sum()) / total - 1) if total else 1.0
