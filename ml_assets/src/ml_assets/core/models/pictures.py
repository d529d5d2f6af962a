"""The pictures of each kind of model, and what they show: made of what its training hands over.

What pictures look like is `ml_assets.core.evaluation.plots`, the points in them are of `curves`; what else a training
found is in `findings`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml_assets.core.evaluation import plots
from ml_assets.core.evaluation.classification import Bin, Labels, Vector
from ml_assets.core.evaluation.curves import (
    Curve,
    contributions,
    coverage_by_period,
    first,
    gains,
    lift_by_tenth,
    precision_recall,
    reliability,
)
from ml_assets.core.evaluation.forecasting import Matrix
from ml_assets.core.evaluation.plots import Panel, Picture
from ml_assets.core.evaluation.ranking import CUTOFFS
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import campaign_uplift, classifier, classifier_training, clv, fraud, fraud_training, segments
from ml_assets.core.models.demand import training as demand
from ml_assets.core.models.demand.forecaster import INTERVAL
from ml_assets.core.models.recommendation import training as recommendation

SHOWN = 15
"""So many features are in the picture of contributions."""
THRESHOLDS = np.geomspace(0.001, 0.999, 80)
DIAGONAL = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
TENTHS = tuple(f"{number}" for number in range(1, 11))
PANELS = (0.05, 0.25, 0.75)
"""The products of the forecasts that are shown, by their place among all, the most ordered first."""
HEAT = 1.5
"""Standard deviations from the mean at which the colour of a segment's behaviour is fullest."""


def of_classifier(trained: classifier_training.Trained) -> tuple[Picture, ...]:
    """Of a classifier of customers."""
    question, rows = trained.question, trained.held_out
    labels = classifier.target(question, rows)
    rankings = {"model": trained.probabilities, **trained.rankings}
    curves = {_words(name): gains(labels, ranking) for name, ranking in rankings.items()}
    return (
        _reliability(trained.scores.bins, trained.scores.ece, question.label),
        _precision_recall(
            labels,
            rankings,
            "Of the customers above each threshold, the share that is right (precision), over the share of all "
            "who are found (recall); the dotted line is the share of all customers.",
        ),
        _gains(curves, f"share of those who {question.label}", "customers"),
        _lift(curves, "customers"),
        *_contributions(trained.model, column_values(rows, trained.names), trained.names),
    )


def of_fraud(trained: fraud_training.Trained) -> tuple[Picture, ...]:
    """Of the fraud model."""
    rows = trained.held_out
    labels, amounts = fraud.target(rows), fraud.amounts(rows)
    rankings = {"model": trained.probabilities, "rules": fraud.rules_fired(rows)}
    by_threshold = np.array(
        [fraud.loss(labels, amounts, trained.probabilities >= threshold) for threshold in THRESHOLDS]
    )
    flat = {"each order's own": trained.loss.model, "rules": trained.loss.rules, "no review": trained.loss.nothing}
    ends = np.array([THRESHOLDS[0], THRESHOLDS[-1]])
    return (
        _reliability(trained.scores.bins, trained.scores.ece, "is charged back"),
        _precision_recall(
            labels,
            rankings,
            "Of the orders above each threshold, the share that are frauds (precision), over the share of all "
            "frauds (recall); the dotted line is the share of frauds in all orders.",
        ),
        _gains(
            {name: gains(labels * amounts, ranking) for name, ranking in rankings.items()},
            "share of the defrauded amount",
            "orders",
        ),
        Picture(
            "loss",
            "What the held-out orders cost, in the shop's currency, by one threshold for all orders. The flat "
            "lines: the decision by each order's own amount, which the model makes; the rules; no review at all.",
            plots.lines(
                {"one threshold": Curve(THRESHOLDS, by_threshold)}
                | {name: Curve(ends, np.full(2, loss)) for name, loss in flat.items()},
                x="probability from which an order is reviewed",
                y="loss",
                logarithmic=True,
            ),
        ),
        *_contributions(trained.model, column_values(rows, trained.names), trained.names),
    )


def of_uplift(trained: campaign_uplift.Trained) -> tuple[Picture, ...]:
    """Of the uplift model; none where no campaign can be an action."""
    learned = trained.learned
    if not learned:
        return ()
    values = {
        "its ranking's policy": [held.policy.value.value for held in learned.values()],
        "writing to all": [held.policy.all.value for held in learned.values()],
    }
    areas = {
        "by uplift": [held.qini.value for held in learned.values()],
        "by propensity": [held.by_propensity.value for held in learned.values()],
    }
    return (
        Picture(
            "policy",
            "What each action is worth for a customer of all that were held out, net of its cost, in the shop's "
            "currency: where the ranking says whom to write to, and where everybody is written to.",
            plots.groups(values, tuple(learned), x="action", y="margin per customer"),
        ),
        Picture(
            "qini",
            "By how much more than writing to as many at random each ranking adds, over all shares of customers.",
            plots.groups(areas, tuple(learned), x="action", y="Qini area"),
        ),
    )


def of_clv(trained: clv.Trained) -> tuple[Picture, ...]:
    """Of the lifetime-value model."""
    actual, predicted, bins = trained.actual, trained.predicted, trained.scores.bins
    curves = {"model": gains(actual, predicted)} | {
        _words(name): gains(actual, values) for name, values in trained.usual.items()
    }
    residuals = np.sort(actual - predicted)
    shares = np.linspace(0.01, 0.99, 99)
    return (
        Picture(
            "calibration",
            "Customers in tenths by predicted revenue: the mean prediction and what came, in the shop's currency.",
            plots.groups(
                {"predicted": [one.predicted for one in bins], "came": [one.actual for one in bins]},
                TENTHS[: len(bins)],
                x="tenth of the customers, by prediction",
                y=f"revenue in {clv.HOLDOUT_DAYS} days",
            ),
        ),
        _gains(curves, "share of the revenue", "customers"),
        Picture(
            "residuals",
            "What came less what was predicted, by the share of customers below: short on the left, long on the "
            "right, since few spend much.",
            plots.lines(
                {"residual": Curve(shares, np.quantile(residuals, shares))},
                x="share of the customers",
                y="came less predicted",
                reference=Curve(DIAGONAL.x, np.zeros(2)),
                bottom=None,
            ),
        ),
    )


def of_segments(trained: segments.Trained) -> tuple[Picture, ...]:
    """Of the segments."""
    model = trained.model
    names = [f"{segment.number}: {segment.name}" for segment in model.segments]
    return (
        Picture(
            "profiles",
            "How the centre of each segment differs from all customers, in standard deviations.",
            plots.heat_map(
                np.array([segment.centre for segment in model.segments]),
                names,
                [_words(name) for name in model.behaviours],
                limit=HEAT,
            ),
        ),
        Picture(
            "sizes",
            "Customers in each segment.",
            plots.bars({name: one.customers for name, one in zip(names, model.segments, strict=True)}, x="customers"),
        ),
        Picture(
            "explained",
            f"How much of the variance of what customers did in the {segments.HORIZON_DAYS} days after is "
            "explained by RFM quintiles, and by these with the segments.",
            plots.groups(
                {
                    "RFM": list(trained.explained.values()),
                    "with the segments": [trained.explained_more[name] for name in trained.explained],
                },
                list(trained.explained),
                x="outcome",
                y="share of the variance explained",
            ),
        ),
    )


def of_demand(trained: demand.Trained, actual: Matrix, mean: Matrix, low: Matrix, high: Matrix) -> tuple[Picture, ...]:
    """Of the demand forecast: `actual` and what was forecast are of all windows, one after the other."""
    errors = Curve(np.arange(1, actual.shape[1] + 1), np.nanmean(actual - mean, axis=0))
    last = len(actual) - len(trained.windows[-1].actual)
    return (
        Picture(
            "forecasts",
            f"Three products in the last window, ordered often, middling and seldom: what came (dots), the mean "
            f"and the interval that holds {INTERVAL:.0%} of the days.",
            plots.forecasts(
                _panels(trained, low[last:], high[last:]),
                x=f"day from {trained.tested[-1]} on",
                y="units",
            ),
        ),
        Picture(
            "coverage",
            f"The share of days in the {INTERVAL:.0%} interval, by how far ahead they were forecast; the dotted "
            "line is what is asked for.",
            plots.lines(
                {"in the interval": Curve(errors.x, coverage_by_period(actual, low, high))},
                x="days ahead",
                y="share of the days",
                reference=Curve(errors.x[[0, -1]], np.full(2, INTERVAL)),
                marked=True,
            ),
        ),
        Picture(
            "residuals",
            "What came less the mean forecast, on average over products and windows, by how far ahead.",
            plots.lines(
                {"came less forecast": errors},
                x="days ahead",
                y="units",
                reference=Curve(errors.x[[0, -1]], np.zeros(2)),
                bottom=None,
                marked=True,
            ),
        ),
    )


def of_recommender(trained: recommendation.Trained) -> tuple[Picture, ...]:
    """Of the recommender."""
    cutoffs = np.array(CUTOFFS, dtype=np.float64)

    def by_cutoff(measure: str) -> dict[str, Curve]:
        return {
            _words(name): Curve(cutoffs, np.array([found[f"{measure}@{k}"].value for k in CUTOFFS]))
            for name, found in trained.scores.items()
        }

    places = trained.places.astype(np.float64)
    return (
        *(
            Picture(
                measure,
                f"{title} by how many products are listed, of the model and of what it is held against.",
                plots.lines(by_cutoff(measure), x="products listed", y=title, marked=True),
            )
            for measure, title in (("recall", "Recall"), ("ndcg", "NDCG"))
        ),
        Picture(
            "coverage",
            "The share of the catalogue that stands in anybody's first ten.",
            plots.bars({_words(name): value for name, value in trained.coverages.items()}, x="share of products"),
        ),
        Picture(
            "popularity",
            "Which share of all places in the lists the most listed products hold; the dotted line is what they "
            "would hold if all were listed as often.",
            plots.lines(
                {"model": gains(places, places)},
                x="share of the products, the most listed first",
                y="share of the places",
                reference=DIAGONAL,
            ),
        ),
    )


def _reliability(bins: tuple[Bin, ...], error: float, label: str) -> Picture:
    return Picture(
        "reliability",
        f"Rows in tenths by predicted probability: which share {label}. On the dotted line both are the same; they "
        f"differ by {error:.3f} on average (expected calibration error).",
        plots.lines(
            {"observed": reliability(bins)},
            x="mean predicted probability",
            y=f"share that {label}",
            reference=Curve(DIAGONAL.x * bins[-1].predicted, DIAGONAL.y * bins[-1].predicted),
            marked=True,
        ),
    )


def _precision_recall(labels: Labels, rankings: dict[str, Vector], caption: str) -> Picture:
    """How many are right of those who are ranked best; the dotted line is the share of all who are."""
    return Picture(
        "precision_recall",
        caption,
        plots.lines(
            {_words(name): precision_recall(labels, ranking) for name, ranking in rankings.items()},
            x="recall",
            y="precision",
            reference=Curve(DIAGONAL.x, np.full(2, labels.mean())),
        ),
    )


def _gains(curves: dict[str, Curve], y: str, rows: str) -> Picture:
    return Picture(
        "gains",
        f"The {y} that is found in the best-ranked {rows}; the dotted line is what chance finds.",
        plots.lines(curves, x=f"share of the {rows}", y=y, reference=DIAGONAL),
    )


def _lift(curves: dict[str, Curve], rows: str) -> Picture:
    return Picture(
        "lift",
        f"How many times as many as on average are in each tenth of the {rows}, the best-ranked first.",
        plots.groups(
            {name: lift_by_tenth(curve).tolist() for name, curve in curves.items()},
            TENTHS,
            x=f"tenth of the {rows}",
            y="lift",
        ),
    )


def _contributions(model: Any, matrix: npt.NDArray[np.float32], names: tuple[str, ...]) -> list[Picture]:
    """The features' contributions to boosted trees; none of a shop's own model that is of another kind."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = model.calibrated_classifiers_[0].estimator if isinstance(model, CalibratedClassifierCV) else None
    if not isinstance(trees, HistGradientBoostingClassifier):
        return []
    means = contributions(trees, matrix, names)
    caption = (
        f"By how much each of the {min(SHOWN, len(means))} weightiest features moves a prediction on average, up or "
        "down, in log-odds before calibration (mean absolute Shapley values, exact for trees)."
    )
    bars = plots.bars(first(means, SHOWN), x="mean absolute Shapley value, log-odds")
    return [Picture("contributions", caption, bars)]


def _panels(trained: demand.Trained, low: Matrix, high: Matrix) -> list[Panel]:
    """The products at the places PANELS in the last window, whose interval is `low` to `high`."""
    forecast, window = trained.forecasts[-1], trained.windows[-1]
    sold = np.flatnonzero(window.weight > 0)
    ranked = sold[np.argsort(-window.weight[sold], kind="stable")]
    chosen = dict.fromkeys(ranked[int(share * (len(ranked) - 1))] for share in PANELS)
    return [
        Panel(forecast.series[place], window.actual[place], forecast.mean[place], low[place], high[place])
        for place in chosen
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")
