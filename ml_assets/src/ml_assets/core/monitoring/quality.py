"""How good a model was at many as-of dates: one form of table for all models, with what each figure is held to.

The figures of predictions that were made are `realised`'s, those of trainings in the past `backtests`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from cartograph.contracts import Column, Contract
from ml_assets.core.evaluation.classification import MEASURES, Interval, evaluate, measured
from ml_assets.core.evaluation.values import mean_absolute_error, normalised_gini
from ml_assets.core.models import churn, classifier, clv, fraud, propensity
from ml_assets.core.models.classifier import Question, Vector
from ml_assets.core.models.demand import training as demand_training
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.registry import CHALLENGER, CHAMPION

RECIPE = "recipe"
"""The role of a model that was trained at a past date, and never predicted for anybody."""
TABLES = {
    churn.NAME: "churn_quality",
    propensity.NAME: "propensity_quality",
    clv.NAME: "lifetime_value_quality",
    demand_training.NAME: "demand_quality",
    fraud.NAME: "fraud_quality",
    product_recommender.NAME: "recommendation_quality",
}
"""The tables of `monitoring` that say what became of Cartograph's own models' predictions; segments have no outcome."""
FEWEST_ROWS = 100
"""Of fewer customers or products nothing is concluded, as in a contest."""
CALIBRATION_ERROR = 0.10
"""Of predictions made: those of a holdout are held to less, and the world moves on."""
TOTAL_WITHIN = 0.20
"""How far all customers together may be from what was predicted, or twice what a holdout is held to where that is more:
in the time since, all of them change together."""


class Figure(NamedTuple):
    """A figure, its 95 % interval where it has one, and what it is held to where it is held to anything."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None


class Point(NamedTuple):
    """The figures of one as-of date: of so many `rows` (customers, orders, products); None for the recipe's version."""

    as_of: date
    version: str | None
    rows: int
    figures: tuple[Figure, ...]


def table_of(model: str) -> str:
    """The table of `monitoring` that says what became of a model's predictions; a shop's own gives it its name."""
    return TABLES.get(model, f"{model}_quality")


def contract(dataset: str, grain: str) -> Contract:
    """The table `dataset`; `grain` says what has a figure in it."""
    return Contract(
        dataset=dataset,
        grain=grain,
        key=("as_of_date", "role", "metric"),
        event_time="as_of_date",
        columns=(
            Column(
                name="as_of_date", type="date", description="The model predicted on what was known before this day."
            ),
            Column(
                name="role",
                type="string",
                description="Who predicted: champion, challenger (aside), or the recipe, trained at the date.",
                accepted=(CHAMPION, CHALLENGER, RECIPE),
            ),
            Column(
                name="model_version",
                type="string",
                nullable=True,
                description="The version that predicted, the latest where several did; null for the recipe.",
            ),
            Column(name="rows", type="bigint", description="Predictions that were held against what came."),
            Column(name="metric", type="string", description="The figure's name."),
            Column(name="value", type="double", description="The figure."),
            Column(name="low", type="double", nullable=True, description="Lower end of its 95 % interval, if any."),
            Column(name="high", type="double", nullable=True, description="Upper end of its 95 % interval, if any."),
            Column(name="at_least", type="double", nullable=True, description="It should be no less; null: it may be."),
            Column(name="at_most", type="double", nullable=True, description="It should be no more; null: it may be."),
        ),
    )


def rows_of(role: str, points: Iterable[Point]) -> list[tuple[object, ...]]:
    """The rows of a `contract` table."""
    return [(point.as_of, role, point.version, point.rows, *figure) for point in points for figure in point.figures]


def of_role(table: pa.Table, role: str) -> pa.Table:
    """The rows of a role, by date."""
    return table.filter(pc.equal(table["role"], role)).sort_by("as_of_date")


def latest(table: pa.Table, role: str, dates: int = 1) -> pa.Table:
    """The rows of a role on its latest `dates` as-of dates."""
    own = of_role(table, role)
    days = sorted(set(own["as_of_date"].to_pylist()))[-dates:]
    return own.filter(pc.is_in(own["as_of_date"], pa.array(days, pa.date32())))


def side_by_side(
    table: pa.Table, first: str, second: str
) -> tuple[date, dict[str, tuple[float | None, float | None]]] | None:
    """The figures of two versions on the latest as-of date that both predicted for; None where there is none."""
    found: dict[date, dict[str, dict[str, float]]] = {}
    for row in table.to_pylist():
        if row["model_version"] in (first, second):
            found.setdefault(row["as_of_date"], {}).setdefault(row["model_version"], {})[row["metric"]] = row["value"]
    both = [day for day, versions in found.items() if {first, second} <= versions.keys()]
    if not both:
        return None
    before, after = (found[max(both)][version] for version in (first, second))
    return max(both), {name: (before.get(name), after.get(name)) for name in before | after}


def is_held(figure: Figure) -> bool:
    """Whether a figure is within what it is held to."""
    return (figure.at_least is None or figure.value >= figure.at_least) and (
        figure.at_most is None or figure.value <= figure.at_most
    )


def figure_of(row: dict[str, Any]) -> Figure:
    """The figure in a row of a `contract` table."""
    return Figure(*(row[name] for name in Figure._fields))


def within(name: str, value: float, share: float) -> Figure:
    """A ratio that is held to 1, within `share`."""
    return Figure(name, value, at_least=1 - share, at_most=1 + share)


def interval(name: str, found: Interval, *, at_least: float | None = None) -> Figure:
    """A figure with its interval."""
    return Figure(name, *found, at_least=at_least)


def of_probabilities(question: Question, rows: pa.Table, probabilities: Vector) -> tuple[Figure, ...]:
    """The figures of predictions for labelled `rows`; none where the labels are one.

    The bar is the best rule by the question's measure, and its margin.
    """
    labels = classifier.target(question, rows)
    if not 0 < labels.sum() < len(labels):
        return ()
    scores, measure = evaluate(labels, probabilities), MEASURES[question.measure]
    reached = measured(labels, probabilities, measure, scores)
    rules = {f"{name}_{question.measure}": measure.score(labels, rule(rows)) for name, rule in question.rules.items()}
    return (
        interval(question.measure, reached, at_least=max(rules.values()) + question.margin),
        *([] if reached is scores.auc else [interval("auc", scores.auc)]),
        Figure("calibration_error", scores.ece, at_most=CALIBRATION_ERROR),
        Figure("brier", scores.brier),
        Figure("lift_top_decile", scores.lift),
        Figure(f"{question.label}_rate", scores.positives / scores.rows),
        *(Figure(name, value) for name, value in rules.items()),
    )


def of_amounts(name: str, came: Vector, expected: Vector, guess: Vector) -> tuple[Figure, ...]:
    """How near predicted amounts came in total, one by one and as a ranking; `guess` is a simpler prediction.

    None where nothing came.
    """
    if not came.sum():
        return ()
    simple, share = mean_absolute_error(came, guess), max(TOTAL_WITHIN, 2 * clv.tolerated_total(came, expected))
    return (
        within(f"{name}_total_ratio", float(expected.sum() / came.sum()), share),
        Figure(f"{name}_mae", mean_absolute_error(came, expected), at_most=simple),
        Figure(f"{name}_gini", normalised_gini(came, expected)),
        Figure(f"{name}_simple_mae", simple),
    )


def spread(found: Sequence[date], points: int) -> list[date]:
    """So many of the dates, evenly spread, the first and the last among them."""
    if len(found) <= points:
        return list(found)
    return [found[round(step * (len(found) - 1) / (points - 1))] for step in range(points)]
