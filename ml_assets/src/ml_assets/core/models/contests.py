"""How a trained model of each kind is held against the champion: on which rows, by which loss, for which subgroups.

The rows' outcomes lie after all that either has learned from. What follows is `ml_assets.core.evaluation.promotion`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from math import log
from statistics import median
from time import perf_counter

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.releases.contents.tables import LISTED
from cartograph.words import counted
from ml_assets.core.evaluation.classification import calibration_bins, calibration_error
from ml_assets.core.evaluation.forecasting import Window, coverage, origins, weighted_losses, window
from ml_assets.core.evaluation.promotion import Contest, NotComparable, Vector
from ml_assets.core.evaluation.ranking import by_customer, chosen, rank, temporal_split
from ml_assets.core.features.customers import Marts, column_values
from ml_assets.core.models import classifier, clv, fraud, segments
from ml_assets.core.models.classifier_training import Trained
from ml_assets.core.models.demand.daily import Demand
from ml_assets.core.models.demand.forecaster import INTERVAL, Forecast, Forecaster, fit
from ml_assets.core.models.demand.panel import DAILY
from ml_assets.core.models.demand.training import PARAMETERS, WINDOWS
from ml_assets.core.models.export import predictor
from ml_assets.core.models.fraud_training import Trained as FraudTrained
from ml_assets.core.models.recommendation.lists import opened
from ml_assets.core.models.recommendation.purchases import Purchases
from ml_assets.core.models.recommendation.training import Trained as RecommenderTrained
from ml_assets.core.models.scoring import card_of, probabilities
from ml_assets.core.models.subgroups import groups
from ml_assets.core.registry import NoModel, Registered

BRIER_MARGIN = 0.002
"""A squared error so little larger, of some 0.15, is no inferiority; as far as SKILL_SHARE lets it be."""
SKILL_SHARE = 0.05
"""No margin is more, as a share of what the champion gains over predicting the same rate for all.

Of labels as rare as one in a hundred, the rate alone has a squared error of 0.0099 and a good model one of 0.0094.
"""
EQUAL_SHARE = 0.0001
"""Squared errors that differ by so small a share of the champion's are equal.

So the margin is not 0 for a champion that gains nothing over the rate, than which an equal challenger would be worse by
rounding. It is a five-hundredth of what the good model above gains: no model passes by it that knows less.
"""
ERROR_MARGIN = 0.01
"""As a share of the champion's mean absolute error."""
FEWEST_DAYS = 28
"""Lifetime values are compared on so many days of orders: four weeks, each weekday as often as the others."""
TIMED = 50
FRAUD_MARGIN = 0.05
"""As a share of the champion's mean squared error: of few frauds, sound models differ by some per cent by chance."""
FRAUDS_OFF = log(1.5)
"""As the holdout of a training is held to."""
UNCOVERED = 0.05
"""How far the interval's coverage may be from its level, as over the windows of a training."""
FEW_PURCHASES = 5
SAME_SEGMENTS = 0.8
"""From this adjusted Rand index on, segments are the same: so near must planted types be found."""
TINY = 1e-9


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
    errors = (before - labels) ** 2
    return Contest(
        loss="squared error",
        window=(holdout, holdout + timedelta(days=question.horizon_days)),
        champion=errors,
        challenger=(after - labels) ** 2,
        margin=_margin(BRIER_MARGIN, labels, errors),
        miscalibration=(
            calibration_error(calibration_bins(labels, before)),
            calibration_error(calibration_bins(labels, after)),
        ),
        tolerated=classifier.tolerated_error(float(labels.mean()), len(labels)),
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
        tolerated=clv.tolerated_total(actual, after),
        groups=groups(rows),
        newer_days=(trained.model.as_of - old.as_of).days,
        latency_ms=latency(lambda: clv.predict(new, one)),
    )


def fraud_contest(
    con: duckdb.DuckDBPyConnection, risk: str, orders: str, refunds: str, trained: FraudTrained, champion: Registered
) -> Contest:
    """Both models' squared errors on the holdout of the challenger, once its chargebacks have come.

    What a model learned from was known before its own holdout, so the champion is judged fairly on any that is as late.

    Raises:
        NotComparable: the champion's holdout is later.
        NoModel: the champion takes a feature that there is no more.
    """
    seen, split = card_of(champion).as_of, trained.split
    if split.holdout < seen:
        raise NotComparable(
            f"the champion has learned from what was known on {seen}, and the challenger's holdout of {split.holdout} "
            "is earlier"
        )
    rows = fraud.labelled_rows(con, risk, orders, refunds, (split.holdout, split.until), split.known)
    matrix, challenger = column_values(rows, trained.names), predictor(trained.form.content)
    labels, before, after = fraud.target(rows), probabilities(champion, rows), challenger(matrix)
    errors, amount = (before - labels) ** 2, fraud.amounts(rows)
    return Contest(
        loss="squared error",
        window=(split.holdout, split.until),
        champion=errors,
        challenger=(after - labels) ** 2,
        margin=_margin(FRAUD_MARGIN * float(errors.mean()), labels, errors),
        miscalibration=(_times_off(labels, before), _times_off(labels, after)),
        tolerated=FRAUDS_OFF,
        groups={
            "the amount is below the median": amount < np.median(amount),
            "the amount is at or above the median": amount >= np.median(amount),
        },
        newer_days=(split.holdout - seen).days,
        latency_ms=latency(lambda: challenger(matrix[:1])),
    )


def demand_contest(demand: Demand, horizon: int, champion: Registered) -> Contest:
    """Both forecasts' errors in the last windows: of each product in each, its part in the weighted RMSSE.

    The champion forecasts as registered, and the challenger's method as it would have been trained before the first
    window; neither has seen these days.

    Raises:
        NotComparable: since the champion's date there are fewer than FEWEST_DAYS days.
        NoModel: the champion does not fit the panel, or reaches less far than is needed now.
    """
    panel, seen = demand.panel, card_of(champion).as_of
    as_of: date = panel.dates[demand.origin].item()
    days = [(panel.dates[start].item(), start) for start in origins(demand.origin, horizon, WINDOWS)]
    starts = [start for day, start in days if day >= seen]
    if len(starts) * horizon < FEWEST_DAYS:
        since = counted(max((as_of - seen).days, 0), "day")
        raise NotComparable(
            f"the champion was fitted on all data before {seen}; since then there is {since} of orders, and whole "
            f"windows of {horizon} days, {FEWEST_DAYS} days or more in all, are needed to compare on"
        )
    old, new = Forecaster.from_text(champion.content.decode()), fit(panel, starts[0], horizon, PARAMETERS)
    if old.horizon != horizon:
        raise NoModel(f"Version {champion.version} forecasts {old.horizon} days, and {horizon} are needed now.")
    try:
        before = [old.predict(panel, start) for start in starts]
    except ValueError as error:
        raise NoModel(f"Version {champion.version} of {champion.name}: {error}") from None
    after = [new.predict(panel, start) for start in starts]
    windows = [window(panel.quantity, at, horizon, season=DAILY.season, recent=DAILY.windows[1]) for at in starts]
    errors, weights = weighted_losses(windows, [forecast.mean for forecast in before])
    if not len(errors):
        raise NotComparable("nothing was ordered in changing quantities")
    return Contest(
        loss="weighted RMSSE",
        window=(panel.dates[starts[0]].item(), as_of),
        champion=errors,
        challenger=weighted_losses(windows, [forecast.mean for forecast in after])[0],
        margin=ERROR_MARGIN * float(errors.mean()),
        miscalibration=(_uncovered(windows, before), _uncovered(windows, after)),
        tolerated=UNCOVERED,
        groups={
            "the product sells less than the median": weights < np.median(weights),
            "the product sells as much as the median or more": weights >= np.median(weights),
        },
        newer_days=(as_of - seen).days,
        latency_ms=None,
    )


def recommender_contest(data: Purchases, trained: RecommenderTrained, champion: Registered) -> Contest:
    """What each customer who bought lost of NDCG@10 by either, in up to HORIZON_DAYS days that neither has seen.

    The champion ranks as registered, and of the challenger the recommender that its training held against these days.

    Raises:
        NotComparable: since the champion's date there are fewer than FEWEST_DAYS days.
        NoModel: the champion's file is not one.
    """
    old, as_of, tested = opened(champion), trained.recommender.as_of, trained.tested
    first = max(old.as_of, tested.as_of)
    if (as_of - first).days < FEWEST_DAYS:
        since = counted(max((as_of - old.as_of).days, 0), "day")
        raise NotComparable(
            f"the champion knows all purchases before {old.as_of}; since then there is {since} of them, and "
            f"{FEWEST_DAYS} are needed to compare on"
        )
    split = temporal_split(data.histories, data.moments, np.datetime64(first, "us"))
    split = chosen(split, np.flatnonzero(np.diff(split.targets.starts)))
    exclude_seen = trained.recommender.exclude_seen
    before, after = (
        1 - by_customer(rank(split, one.scores, exclude_seen=exclude_seen, listed=0))["ndcg@10"]
        for one in (old.on(data.catalogue).recommender, tested.recommender)
    )
    bought = np.diff(split.known.starts)
    one = split.known.chosen(np.arange(min(1, split.known.rows)))
    return Contest(
        loss="lost NDCG@10",
        window=(first, as_of),
        champion=before,
        challenger=after,
        margin=ERROR_MARGIN * float(before.mean()) if len(before) else 0.0,
        miscalibration=None,
        tolerated=0.0,
        groups={
            "nothing was bought before": bought == 0,
            f"up to {FEW_PURCHASES} products were bought before": (bought > 0) & (bought <= FEW_PURCHASES),
            f"more than {FEW_PURCHASES} products were bought before": bought > FEW_PURCHASES,
        },
        newer_days=(as_of - old.as_of).days,
        latency_ms=latency(lambda: tested.recommender.recommend(one, LISTED, exclude_seen=exclude_seen)),
    )


def segments_contest(
    con: duckdb.DuckDBPyConnection, features: str, orders: str, trained: segments.Trained, champion: Registered
) -> Contest:
    """What either's segments leave unexplained of how customers ordered in the days after the challenger's holdout.

    The champion is as registered, and the challenger's method as of its holdout. Segments that move many customers are
    no matter of a margin: where they agree with the champion's less than SAME_SEGMENTS, they have to be better.

    Raises:
        NotComparable: the champion was made of later data than the holdout.
        NoModel: the champion takes a behaviour that there is no more.
    """
    old = segments.SegmentModel.model_validate_json(champion.content)
    if trained.holdout < old.as_of:
        raise NotComparable(
            f"the champion was made of what was known on {old.as_of}, and the challenger's holdout of "
            f"{trained.holdout} is earlier"
        )
    before, today = (segments.experienced(con, features, day) for day in (trained.holdout, trained.model.as_of))
    missing = sorted(set(segments.inputs_of(old.behaviours)) - set(before.schema.names))
    if missing:
        raise NoModel(f"Version {champion.version} takes {', '.join(missing)}, which the feature table does not have.")
    errors, new = (segments.unexplained(con, orders, before, model, trained.holdout) for model in (old, trained.tested))
    known = ~np.isnan(errors)
    agreement = segments.agreement(today, old, trained.model)
    return Contest(
        loss="unexplained variance",
        window=(trained.holdout, trained.holdout + timedelta(days=segments.HORIZON_DAYS)),
        champion=errors[known],
        challenger=new[known],
        margin=ERROR_MARGIN * float(errors[known].mean()) if known.any() and agreement >= SAME_SEGMENTS else 0.0,
        miscalibration=None,
        tolerated=0.0,
        groups=groups(before.filter(pa.array(known))),
        newer_days=(trained.model.as_of - old.as_of).days,
        latency_ms=None,
        further={"agreement": agreement},
    )


def latency(predict: Callable[[], object]) -> float:
    """The median time of `predict` in milliseconds, of some calls."""

    def timed() -> float:
        begun = perf_counter()
        predict()
        return (perf_counter() - begun) * 1000

    return median(timed() for _ in range(TIMED))


def _margin(most: float, labels: fraud.Labels, errors: Vector) -> float:
    """The margin of squared errors: `most`, or SKILL_SHARE of what the champion gains over the rate of the rows.

    At least EQUAL_SHARE of the champion's own error.
    """
    rate, error = float(labels.mean()), float(errors.mean())
    return min(most, max(SKILL_SHARE * (rate * (1 - rate) - error), EQUAL_SHARE * error))


def _times_off(labels: fraud.Labels, predicted: Vector) -> float:
    """The logarithm of how many times more, or fewer, were expected than came."""
    return abs(log(max(float(predicted.sum()), TINY) / max(int(labels.sum()), TINY)))


def _uncovered(windows: Sequence[Window], forecasts: Sequence[Forecast]) -> float:
    """How far the share of days in the interval is from its level."""
    found = [coverage(past.actual, *forecast.interval()) for past, forecast in zip(windows, forecasts, strict=True)]
    return abs(float(np.mean(found)) - INTERVAL)


def _off(predicted: Vector, total: float) -> float:
    """By which share of the total the predictions' sum is off; 1 where nothing was spent."""
    return abs(float(predicted.sum()) / total - 1) if total else 1.0
