"""What the training of each kind of model found beside its figures: data in words, subgroups, and its pictures.

Everything is from what the training hands over; nothing is trained here. Which pictures there are, and what they show,
is the business of `pictures`.
"""

from __future__ import annotations

import numpy as np

from ml_assets.core.evaluation.classification import Labels, Vector, auc, calibration_bins, calibration_error
from ml_assets.core.evaluation.forecasting import coverage
from ml_assets.core.evaluation.promotion import Mask
from ml_assets.core.evaluation.values import mean_absolute_error
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import (
    campaign_uplift,
    classifier,
    classifier_training,
    clv,
    fraud,
    fraud_training,
    pictures,
    segments,
    subgroups,
)
from ml_assets.core.models.about import ABOUT
from ml_assets.core.models.demand import training as demand
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.models.recommendation import training as recommendation
from ml_assets.core.models.report import About, Findings, Group


def of_classifier(trained: classifier_training.Trained, about: About) -> Findings:
    """What a classifier of customers found; `about` says what it is for."""
    question, split, rows = trained.question, trained.split, trained.held_out
    labels, probabilities = classifier.target(question, rows), trained.probabilities

    def figures(mask: Mask) -> dict[str, float]:
        return _of_probabilities(labels[mask], probabilities[mask])

    return Findings(
        about=about,
        data=(
            f"{trained.training_rows:,} rows: the population of {len(split.training)} as-of dates from "
            f"{split.training[0]} to {split.training[-1]}, each with the {question.horizon_days} days after it. Held "
            f"against {trained.scores.rows:,} customers on {split.holdout}, after all of these days."
        ),
        groups=subgroups.told(subgroups.groups(rows), figures),
        pictures=pictures.of_classifier(trained),
    )


def of_fraud(trained: fraud_training.Trained) -> Findings:
    """What the fraud model found."""
    split, rows, probabilities = trained.split, trained.held_out, trained.probabilities
    labels, amounts = fraud.target(rows), fraud.amounts(rows)
    reviewed = fraud.is_reviewed(probabilities, amounts)
    guest, first_order = (column_values(rows, [name])[:, 0] == 1 for name in ("is_guest", "is_first_order"))
    masks = {
        "a guest": guest,
        "a customer's first order": first_order & ~guest,
        "a customer's later order": ~first_order,
        "an amount in the upper half": amounts > np.median(amounts),
    }

    def figures(mask: Mask) -> dict[str, float]:
        honest = mask & (labels == 0)
        return {
            "fraud_rate": float(labels[mask].mean()),
            "mean_probability": float(probabilities[mask].mean()),
            "reviewed_though_honest": float(reviewed[honest].mean()) if honest.any() else 0.0,
        }

    return Findings(
        about=ABOUT[fraud.NAME],
        data=(
            f"{trained.training_rows:,} orders from {split.training} to {split.trained_until}, "
            f"{trained.training_frauds} of them frauds by what was known on {split.holdout}. Held against "
            f"{len(labels):,} orders from {split.holdout} to {split.until}, of which {int(labels.sum())} were frauds."
        ),
        groups=subgroups.told(masks, figures),
        pictures=pictures.of_fraud(trained),
    )


def of_uplift(trained: campaign_uplift.Trained) -> Findings:
    """What the uplift model found; its subgroups are the campaigns that can be an action."""
    learned = trained.learned
    refused = [one.campaign.campaign_id for one in trained.examined if one.refusal]
    return Findings(
        about=ABOUT[campaign_uplift.NAME],
        data=(
            f"{len(trained.examined)} campaigns whose outcomes were all known on {trained.model.as_of}. Not "
            f"identified, and so no action: {', '.join(refused) or 'none'}. Of each action one half of its customers "
            "was held out."
        ),
        groups=tuple(
            Group(
                name=name,
                rows=held.customers,
                figures={"qini": held.qini.value, "average": held.average.value, "predicted": held.predicted},
            )
            for name, held in learned.items()
        ),
        pictures=pictures.of_uplift(trained),
    )


def of_clv(trained: clv.Trained) -> Findings:
    """What the lifetime-value model found."""
    actual, predicted = trained.actual, trained.predicted

    def figures(mask: Mask) -> dict[str, float]:
        total = float(actual[mask].sum())
        return {
            "mae": mean_absolute_error(actual[mask], predicted[mask]),
            "own_rate_mae": mean_absolute_error(actual[mask], trained.usual["own_rate"][mask]),
            "total_ratio": float(predicted[mask].sum()) / total if total else float("nan"),
        }

    return Findings(
        about=ABOUT[clv.NAME],
        data=(
            f"All orders before {trained.model.as_of}. A model of the same kind, fitted on those before "
            f"{trained.holdout}, was held against what {trained.customers:,} customers spent in the "
            f"{clv.HOLDOUT_DAYS} days from then on."
        ),
        groups=subgroups.told(subgroups.groups(trained.rows), figures),
        pictures=pictures.of_clv(trained),
    )


def of_segments(trained: segments.Trained) -> Findings:
    """What the segments are."""
    model = trained.model
    return Findings(
        about=ABOUT[segments.NAME],
        data=(
            f"{trained.customers:,} customers with {segments.FEWEST_ORDERS} orders or more before {model.as_of}. "
            f"Segments found in the same way on {trained.holdout} were held against the {segments.HORIZON_DAYS} days "
            "from then on."
        ),
        groups=tuple(
            Group(
                name=f"segment {segment.number}: {segment.name}",
                rows=segment.customers,
                figures=dict(zip(model.behaviours, segment.centre, strict=True)),
            )
            for segment in model.segments
        ),
        pictures=pictures.of_segments(trained),
    )


def of_demand(trained: demand.Trained) -> Findings:
    """What the demand forecast found in its backtest."""
    intervals = [forecast.interval() for forecast in trained.forecasts]
    actual = np.concatenate([window.actual for window in trained.windows])
    mean = np.concatenate([forecast.mean for forecast in trained.forecasts])
    low, high = (np.concatenate([bounds[side] for bounds in intervals]) for side in (0, 1))
    weight = np.concatenate([window.weight for window in trained.windows])
    lower, upper = np.quantile(weight[weight > 0], [1 / 3, 2 / 3]) if (weight > 0).any() else (0.0, 0.0)
    masks = {
        "the third that is ordered least": (weight > 0) & (weight <= lower),
        "the third between": (weight > lower) & (weight <= upper),
        "the third that is ordered most": weight > upper,
    }

    def figures(mask: Mask) -> dict[str, float]:
        total = float(np.nansum(actual[mask]))
        known = np.where(np.isnan(actual[mask]), np.nan, mean[mask])
        return {
            "wape": float(np.nansum(np.abs(actual[mask] - mean[mask]))) / total if total else float("nan"),
            "bias": float(np.nansum(known)) / total - 1 if total else float("nan"),
            "interval_coverage": coverage(actual[mask], low[mask], high[mask]),
        }

    return Findings(
        about=ABOUT[demand.NAME],
        data=(
            f"{trained.products:,} products before {trained.as_of}. A model from before {trained.tested[0]} was held "
            f"against {len(trained.tested)} windows of {actual.shape[1]} days from then on: {trained.scored} products "
            "beside the baselines, all of them for the interval."
        ),
        groups=tuple(
            Group(name=name, rows=int(mask.sum()), figures=figures(mask))
            for name, mask in masks.items()
            if mask.any() and not np.isnan(actual[mask]).all()
        ),
        pictures=pictures.of_demand(trained, actual, mean, low, high),
    )


def of_recommender(trained: recommendation.Trained) -> Findings:
    """What the recommender found on the test window."""
    return Findings(
        about=ABOUT[product_recommender.NAME],
        data=(
            f"All purchases before {trained.recommender.as_of}. A model that knew none of the last "
            f"{recommendation.HORIZON_DAYS} days was held against what {trained.customers:,} customers bought in them, "
            f"and tuned on the {recommendation.HORIZON_DAYS} days before."
        ),
        groups=tuple(
            Group(
                name=f"new in the window, by {name.replace('_', ' ')}",
                rows=trained.newcomers,
                figures={"ndcg@10": value},
            )
            for name, value in trained.cold_start.items()
        ),
        pictures=pictures.of_recommender(trained),
    )


def _of_probabilities(labels: Labels, probabilities: Vector) -> dict[str, float]:
    """How good probabilities are for some rows; no AUC where all have the same label."""
    ranked = {"auc": auc(labels, probabilities)} if 0 < labels.sum() < len(labels) else {}
    return ranked | {
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "ece": calibration_error(calibration_bins(labels, probabilities)),
        "predicted": float(probabilities.mean()),
        "observed": float(labels.mean()),
    }
