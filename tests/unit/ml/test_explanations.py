"""Contributions are Shapley values: held against their definition, on made-up trees and on models that are fitted."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cartograph.releases.contents.models import Explainer, TreeNodes
from ml_assets.core.explanations import trees, turns
from ml_assets.core.explanations.making import MOST_LEAVES, explainer, typical
from ml_assets.core.models.export import predict, to_onnx
from ml_assets.core.models.training import fit_calibrated
from ml_assets.core.own_models.estimators import steps
from ml_assets.core.own_models.form import Estimator

WIDTH = 4
NAMES = tuple(f"x{at}" for at in range(WIDTH))


def make_trees(seed: int, count: int = 3, depth: int = 4) -> TreeNodes:
    """Random trees, in which a feature may come again on the same way."""
    draw = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "null_left", "value", "share")
    }

    def grow(level: int, share: float) -> int:
        at = len(columns["feature"])
        is_leaf = level == depth or (level > 0 and draw.random() < 0.2)
        columns["feature"].append(None if is_leaf else int(draw.integers(WIDTH)))
        columns["threshold"].append(float(draw.normal()))
        columns["null_left"].append(bool(draw.random() < 0.5))
        columns["value"].append(float(draw.normal()) if is_leaf else 0.0)
        columns["share"].append(share)
        columns["left"].append(0)
        columns["right"].append(0)
        if not is_leaf:
            part = draw.uniform(0.05, 0.95)
            columns["left"][at] = grow(level + 1, share * part)
            columns["right"][at] = grow(level + 1, share * (1 - part))
        return at

    return TreeNodes(roots=[grow(0, 1.0) for _ in range(count)], **columns)


def expected(nodes: TreeNodes, row: np.ndarray, known: frozenset[int]) -> float:
    """What the trees add where only the features `known` are told: the mean over both ways where one is not."""

    def at(node: int) -> float:
        feature = nodes.feature[node]
        if feature is None:
            return nodes.value[node]
        left, right = nodes.left[node], nodes.right[node]
        if feature in known:
            value = row[feature]
            goes_left = nodes.null_left[node] if np.isnan(value) else value <= nodes.threshold[node]
            return at(left if goes_left else right)
        return (nodes.share[left] * at(left) + nodes.share[right] * at(right)) / nodes.share[node]

    return sum(at(root) for root in nodes.roots)


def shapley(worth: Any, width: int) -> np.ndarray:
    """Shapley's definition: the mean over all orders of what a feature adds to those before it."""
    split = np.zeros(width)
    for feature in range(width):
        others = [one for one in range(width) if one != feature]
        for size in range(width):
            weight = factorial(size) * factorial(width - size - 1) / factorial(width)
            for chosen in combinations(others, size):
                split[feature] += weight * (worth(frozenset({*chosen, feature})) - worth(frozenset(chosen)))
    return split


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.sampled_from([-2.0, -0.3, 0.4, 1.5, float("nan")]), min_size=4, max_size=4))
def test_trees_are_split_by_shapleys_definition(seed: int, values: list[float]) -> None:
    nodes, row = make_trees(seed), np.array(values, dtype=np.float32)
    leaves = trees.leaves(nodes, WIDTH)
    split = trees.contributions(leaves, row)
    assert split == pytest.approx(shapley(lambda known: expected(nodes, row, known), WIDTH), abs=1e-12)
    assert leaves.base == pytest.approx(expected(nodes, row, frozenset()))
    assert leaves.base + split.sum() == pytest.approx(trees.margin(leaves, row))


def test_a_single_leaf_moves_nothing() -> None:
    nodes = TreeNodes(
        roots=[0], feature=[None], threshold=[0.0], left=[0], right=[0], null_left=[False], value=[2.5], share=[1.0]
    )
    leaves = trees.leaves(nodes, 2)
    assert leaves.base == 2.5
    assert trees.contributions(leaves, np.zeros(2, np.float32)).tolist() == [0.0, 0.0]


def rows(count: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow the product of two features, the third and whether that is null, and not the last one."""
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(count, WIDTH)).astype(np.float32)
    matrix[draw.random((count, WIDTH)) < 0.15] = np.nan
    filled = np.nan_to_num(matrix)
    score = filled[:, 0] * filled[:, 1] + filled[:, 2] + 2 * np.isnan(matrix[:, 2]) + draw.normal(size=count)
    return matrix, (score > 0).astype(np.int64)


def classifier(path: str, **parameters: Any) -> tuple[Any, bytes, np.ndarray]:
    matrix, labels = rows()
    model = fit_calibrated(
        matrix, labels, np.arange(len(matrix)), steps(Estimator(path=f"sklearn.{path}", params=parameters))
    )
    return model, to_onnx(model, "tried", WIDTH), matrix


def log_odds(content: bytes, matrix: np.ndarray) -> np.ndarray:
    probability = predict(content, matrix.astype(np.float32))
    return np.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("ensemble.HistGradientBoostingClassifier", {"max_iter": 30}),
        ("ensemble.GradientBoostingClassifier", {"n_estimators": 30}),
        ("ensemble.RandomForestClassifier", {"max_depth": 5, "n_estimators": 30}),
        ("tree.DecisionTreeClassifier", {"max_depth": 5}),
    ],
)
def test_an_exported_classifier_of_trees_is_explained_exactly(path: str, parameters: dict[str, Any]) -> None:
    _, content, matrix = classifier(path, **parameters)
    made = explainer(content, NAMES, matrix)
    assert Explainer.model_validate_json(made.model_dump_json()) == made
    assert made.trees is not None
    leaves = trees.leaves(made.trees, WIDTH)
    told = [made.offset + made.scale * (leaves.base + trees.contributions(leaves, row).sum()) for row in matrix[:100]]
    assert told == pytest.approx(log_odds(content, matrix[:100]), abs=1e-4)


def test_a_feature_that_tells_nothing_moves_little_and_one_that_is_not_asked_moves_nothing() -> None:
    _, content, matrix = classifier("ensemble.HistGradientBoostingClassifier", max_iter=30, max_leaf_nodes=4)
    made = explainer(content, NAMES, matrix)
    assert made.trees is not None
    leaves = trees.leaves(made.trees, WIDTH)
    split = np.array([trees.contributions(leaves, row) for row in matrix[:300]])
    strength = np.abs(split).mean(axis=0)
    assert strength.argmax() == 2
    assert strength[3] < 0.1 * strength[2]
    missing = np.isnan(matrix[:300, 2])
    assert split[missing, 2].mean() > 0  # null itself tells: the label is likelier
    wider = trees.contributions(trees.leaves(made.trees, WIDTH + 1), np.append(matrix[0], np.float32(9)))
    assert wider.tolist() == [*split[0].tolist(), 0.0]


def test_contributions_agree_with_the_shap_library() -> None:
    import shap

    model, content, matrix = classifier("ensemble.HistGradientBoostingClassifier", max_iter=30)
    made = explainer(content, NAMES, matrix)
    assert made.trees is not None
    leaves = trees.leaves(made.trees, WIDTH)
    own = np.array([trees.contributions(leaves, row) for row in matrix[:50]])
    theirs = shap.TreeExplainer(model.calibrated_classifiers_[0].estimator).shap_values(matrix[:50])
    # Theirs are by the training rows at each node, and these by one more in each leaf.
    assert np.abs(own - theirs).max() < 0.05 * np.abs(theirs).max()
    assert np.corrcoef(own.ravel(), theirs.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("path", ["linear_model.LogisticRegression", "naive_bayes.GaussianNB"])
def test_a_classifier_without_trees_is_explained_against_a_typical_row(path: str) -> None:
    _, content, matrix = classifier(path)
    made = explainer(content, NAMES, matrix)
    assert made.trees is None
    reference = np.array(made.reference, dtype=np.float32)
    split = turns.contributions(lambda few: log_odds(content, few), reference, matrix[5])
    both = log_odds(content, np.vstack([reference, matrix[5]]))
    assert split.sum() == pytest.approx(both[1] - both[0], abs=1e-5)


def test_a_forest_without_end_is_explained_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    _, content, matrix = classifier("ensemble.RandomForestClassifier", n_estimators=10)
    assert explainer(content, NAMES, matrix).trees is not None
    monkeypatch.setattr("ml_assets.core.explanations.making.MOST_LEAVES", 100)
    assert explainer(content, NAMES, matrix).trees is None
    assert MOST_LEAVES > 100


def test_a_model_needs_rows_to_be_explained_by() -> None:
    _, content, matrix = classifier("tree.DecisionTreeClassifier", max_depth=2)
    with pytest.raises(ValueError, match="needs rows"):
        explainer(content, NAMES, matrix[:0])


@pytest.mark.parametrize("width", [2, 5, turns.FEW + 3])
def test_turns_find_the_terms_of_a_sum(width: int) -> None:
    slopes = np.arange(1.0, width + 1)
    reference, row = np.ones(width), np.linspace(-2, 2, width)
    assert turns.contributions(lambda many: many @ slopes, reference, row) == pytest.approx(slopes * (row - reference))


@settings(max_examples=30)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_turns_of_few_features_are_shapley_values(values: list[float]) -> None:
    reference, row = np.array([0.5, -1.0, 2.0, 0.0]), np.array(values)

    def worth(many: np.ndarray) -> np.ndarray:
        return many[:, 0] * many[:, 1] + np.sin(many[:, 2]) * many[:, 3] ** 2

    def of(known: frozenset[int]) -> float:
        mixed = np.where([at in known for at in range(4)], row, reference)
        return float(worth(mixed[None])[0])

    assert turns.contributions(worth, reference, row) == pytest.approx(shapley(of, 4), abs=1e-9)


def test_turns_of_many_features_share_an_interaction_nearly_alike_and_the_same_each_time() -> None:
    width = turns.FEW + 4
    split = [
        turns.contributions(lambda many: many[:, 0] * many[:, 1], np.zeros(width), np.ones(width)) for _ in range(2)
    ]
    assert split[0].tolist() == split[1].tolist()
    assert split[0].sum() == pytest.approx(1.0)
    assert split[0][:2] == pytest.approx([0.5, 0.5], abs=0.15)
    assert np.abs(split[0][2:]).max() == 0


def test_a_typical_row_is_of_values_that_occur() -> None:
    matrix = np.array([[1.0, np.nan, 4.0], [2.0, np.nan, np.nan], [8.0, 3.0, 5.0], [9.0, np.nan, 5.0]])
    assert typical(matrix) == (2.0, None, 5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": [0, 0, 0]}, "a node must come before its children"),
        ({"right": [1, 0, 0]}, "each node must be a root or the child of one other"),
        ({"share": [1.0, 0.0, 1.0]}, "share must be above 0"),
        ({"value": [0.0]}, "as many entries"),
    ],
)
def test_nodes_that_are_no_trees_are_refused(change: dict[str, Any], message: str) -> None:
    sound: dict[str, Any] = {
        "roots": [0],
        "feature": [0, None, None],
        "threshold": [0.5, 0.0, 0.0],
        "left": [1, 0, 0],
        "right": [2, 0, 0],
        "null_left": [True, False, False],
        "value": [0.0, 1.0, -1.0],
        "share": [1.0, 0.25, 0.75],
    }
    assert trees.leaves(TreeNodes(**sound), 1).base == -0.5
    with pytest.raises(ValidationError, match=message):
        TreeNodes(**sound | change)


def test_an_explainer_is_about_its_features() -> None:
    with pytest.raises(ValidationError, match="need as many values"):
        Explainer(features=("a", "b"), reference=(1.0,))
    with pytest.raises(ValidationError, match="none of the 1"):
        Explainer(features=("a",), reference=(1.0,), trees=make_trees(1))
