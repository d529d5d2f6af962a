"""The pictures of models: their points are those of the numbers, and the same numbers give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from ml_assets.core.evaluation import plots
from ml_assets.core.evaluation.classification import average_precision, calibration_bins, calibration_error
from ml_assets.core.evaluation.curves import (
    MOST_POINTS,
    Curve,
    contributions,
    coverage_by_period,
    gains,
    lift_by_tenth,
    precision_recall,
    reliability,
)
from ml_assets.core.evaluation.values import normalised_gini

DRAW = np.random.default_rng(5)
DIAGONAL = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


def drawn(picture: bytes, gid: str) -> npt.NDArray[np.float64]:
    """The points of a line in a picture, in the picture's own coordinates."""
    (path,) = re.findall(rf'<g id="{gid}">\s*<path d="([^"]+)"', picture.decode())
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path), dtype=float)


def texts(picture: bytes) -> set[str]:
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", picture.decode()))


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=40, max_size=80))
def test_the_reliability_picture_has_the_bins_as_its_points(rows: list[tuple[float, bool]]) -> None:
    probabilities, labels = np.array([p for p, _ in rows]), np.array([int(label) for _, label in rows])
    bins = calibration_bins(labels, probabilities)
    curve = reliability(bins)
    assert calibration_error(bins) == pytest.approx(
        sum(one.rows * abs(x - y) for one, x, y in zip(bins, curve.x, curve.y, strict=True)) / len(rows)
    )
    picture = plots.lines({"observed": curve}, x="predicted", y="observed", reference=DIAGONAL, marked=True)
    (x0, y0), (x1, y1) = drawn(picture, "reference")  # the diagonal tells where 0 and 1 are
    points = (drawn(picture, "curve-0") - [x0, y0]) / [x1 - x0, y1 - y0]
    expected = np.column_stack(curve)
    kept = np.array([np.abs(points - point).sum(axis=1).min() for point in expected])
    assert kept.max() < 1e-3, "each bin is a point of the line"


def test_the_curve_of_precision_and_recall_encloses_the_average_precision() -> None:
    labels = (DRAW.random(5000) < 0.1).astype(int)
    scores = labels + DRAW.normal(size=5000)
    curve = precision_recall(labels, scores)
    assert len(curve.x) == MOST_POINTS
    assert (np.diff(curve.x) >= 0).all()
    assert curve.x[-1] == 1
    assert curve.y[-1] == pytest.approx(labels.mean(), abs=0.01)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(average_precision(labels, scores), abs=0.02)


@pytest.mark.parametrize("amounts", [(DRAW.random(997) < 0.2).astype(int), DRAW.gamma(0.3, size=997)])
def test_gains_are_those_of_the_ranking(amounts: npt.NDArray[np.float64]) -> None:
    best, worst, none = gains(amounts, amounts), gains(amounts, -amounts), gains(amounts, np.zeros(len(amounts)))
    for curve in (best, worst, none):
        assert (curve.y[0], curve.y[-1]) == (0, pytest.approx(1))
        assert lift_by_tenth(curve).mean() == pytest.approx(1)
    assert none.y == pytest.approx(none.x), "who ranks all alike finds as many as chance"
    assert (best.y >= none.y - 1e-12).all()
    assert worst.y == pytest.approx(1 - best.y[::-1])
    noisy = amounts + DRAW.normal(scale=amounts.std(), size=len(amounts))
    areas = [np.trapezoid(gains(amounts, ranking).y, dx=0.01) - 0.5 for ranking in (noisy, amounts)]
    assert areas[0] / areas[1] == pytest.approx(normalised_gini(amounts, noisy), abs=0.01)


def test_coverage_is_counted_for_each_day_ahead_without_what_nobody_observed() -> None:
    actual = np.array([[1.0, 5.0, np.nan], [9.0, np.nan, np.nan]])
    found = coverage_by_period(actual, np.zeros((2, 3)), np.full((2, 3), 6.0))
    assert found.tolist()[:2] == [0.5, 1.0]
    assert np.isnan(found[2])


def test_contributions_add_up_to_the_prediction_and_name_what_moves_it() -> None:
    import shap

    matrix = DRAW.normal(size=(2000, 4)).astype(np.float32)
    matrix[DRAW.random(matrix.shape) < 0.1] = np.nan
    labels = (2 * np.nan_to_num(matrix[:, 2]) + np.nan_to_num(matrix[:, 0]) > DRAW.normal(size=2000)).astype(int)
    trees = HistGradientBoostingClassifier(max_iter=30, random_state=1).fit(matrix, labels)
    found = contributions(trees, matrix, ["some", "nothing", "most", "none"])
    assert list(found)[:2] == ["most", "some"]
    assert found == contributions(trees, matrix, ["some", "nothing", "most", "none"])
    explainer = shap.TreeExplainer(trees)
    total = explainer.shap_values(matrix[:200]).sum(axis=1) + explainer.expected_value
    assert total == pytest.approx(trees.decision_function(matrix[:200]), abs=1e-6)


CURVE = Curve(np.linspace(0.01, 1, 30), np.linspace(0, 1, 30) ** 2)
PANEL = plots.Panel("P1", *np.array([[3.0, np.nan], [2.0, 2.5], [0.0, 0.0], [5.0, 6.0]]))
PICTURES: dict[str, Callable[[], bytes]] = {
    "lines": lambda: plots.lines({"model": CURVE, "rule": DIAGONAL}, x="recall", y="precision", logarithmic=True),
    "bars": lambda: plots.bars({"spend_amount": 2.0, "orders_90d": 1.0}, x="log-odds"),
    "groups": lambda: plots.groups({"predicted": [1, 2], "came": [2, 1]}, ["1", "2"], x="tenth", y="revenue"),
    "heat_map": lambda: plots.heat_map(np.array([[1.0, -2.0]]), ["1: mobile"], ["price", "bulk"], limit=1.5),
    "forecasts": lambda: plots.forecasts([PANEL, PANEL], x="day", y="units"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_numbers_give_the_same_bytes_and_a_small_picture_that_says_what_it_shows(kind: str) -> None:
    picture = PICTURES[kind]()
    assert picture == PICTURES[kind]()
    assert len(picture) < 40_000
    assert b"dc:date" not in picture
    said = {
        "lines": {"recall", "precision", "model", "rule"},
        "bars": {"spend_amount", "orders_90d", "log-odds"},
        "groups": {"predicted", "came", "tenth", "revenue"},
        "heat_map": {"1: mobile", "price", "+1.0", "-2.0"},
        "forecasts": {"P1", "day", "units"},
    }[kind]
    assert said <= texts(picture)


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    PICTURES["bars"]()
    assert dict(mpl.rcParams) == before
