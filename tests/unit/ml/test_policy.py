"""Whom to treat: what the tree learns, what it is worth, when it is not used, and how it is read."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from cartograph.releases.contents.causal import Estimated, PolicyFeature, PolicyNode, PolicyRule
from ml_assets.core.causal.decisions import leaf_of, leaves, treats
from ml_assets.core.causal.policy import learn_policy, markdown, pictures
from ml_assets.core.causal.study import Covariates, Design, Study
from ml_assets.core.models.errors import NotEnoughData

NAMES = ("recency", "orders", "noise")


def planted(seed: int, rows: int = 4000, *, effect=lambda x: 4.0 * (x[:, 0] > 0.3) - 1.0 * (x[:, 1] < 0)):
    """A study with confounding and a known effect for each row, of the modifiers `NAMES`."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, len(NAMES)))
    chance = 1 / (1 + np.exp(-0.6 * x[:, 1]))
    treated = (draw.uniform(size=rows) < chance).astype(float)
    cate = effect(x)
    outcome = 2 * x[:, 1] + x[:, 0] + treated * cate + draw.normal(size=rows) * 2
    covariates = Covariates(NAMES, x)
    return Study(treated, outcome, covariates, covariates), cate


def value_of(rule: PolicyRule, study: Study, cate: np.ndarray) -> float:
    """What the rule is in truth worth, for each row."""
    columns = [NAMES.index(feature.name) for feature in rule.features]
    return float((treats(rule, study.modifiers.values[:, columns]) * (cate * rule.value_of_outcome - rule.cost)).mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_policy_is_worth_95_percent_of_that_of_one_who_knows_each_effect(seed):
    study, cate = planted(seed)
    found = learn_policy(study, Design(), cost=1.5, value=1.0)
    oracle = float(np.maximum(cate - 1.5, 0).mean())
    assert found.rule.kind == "tree"
    assert value_of(found.rule, study, cate) >= 0.95 * oracle
    assert found.rule.value.low <= value_of(found.rule, study, cate) <= found.rule.value.high
    assert found.rule.over_all.low > 0


@pytest.mark.parametrize("seed", range(8))
def test_nobody_is_treated_where_the_cost_exceeds_every_effect(seed):
    study, _ = planted(seed, effect=lambda x: 0.5 + 0.4 * np.tanh(x[:, 0]))
    found = learn_policy(study, Design(), cost=1.0, value=1.0)
    assert found.rule.kind == "treat none"
    assert not treats(found.rule, np.empty((3, 0))).any()
    assert found.rule.value.value == 0
    assert "Treat nobody" in markdown(found, "EUR")


def test_everybody_is_treated_where_all_gain_alike():
    study, _ = planted(3, effect=lambda x: np.full(len(x), 2.0))
    found = learn_policy(study, Design(), cost=0.5, value=1.0)
    assert found.rule.kind == "treat all"
    assert found.rule.value == found.rule.treat_all
    assert found.rule.value.low <= 1.5 <= found.rule.value.high


def test_value_and_cost_are_in_one_unit():
    study, _ = planted(1)
    one = learn_policy(study, Design(), cost=1.5, value=1.0).rule
    ten = learn_policy(study, Design(), cost=15.0, value=10.0).rule
    assert ten.value.value == pytest.approx(10 * one.value.value)
    assert [node.threshold for node in ten.nodes] == [node.threshold for node in one.nodes]


def test_nulls_go_where_the_median_goes():
    study, _ = planted(2)
    values = study.modifiers.values.copy()
    values[::7, 0] = np.nan
    found = learn_policy(
        Study(study.treatment, study.outcome, study.confounders, Covariates(NAMES, values)), Design(), 1.5, 1.0
    ).rule
    at = [feature.name for feature in found.features].index("recency")
    row = np.zeros((1, len(found.features)))
    filled, null = row.copy(), row.copy()
    filled[0, at], null[0, at] = found.features[at].missing, np.nan
    assert leaves(found, filled) == leaves(found, null)


@pytest.mark.parametrize(
    ("changed", "cost", "said"),
    [
        ({"treatment": np.full(500, 2.0)}, 1.0, "must be binary"),
        ({"clusters": np.zeros(500, dtype=np.int64)}, 1.0, "have clusters"),
        ({}, -1.0, "at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(changed, cost, said):
    study, _ = planted(1, 500)
    with pytest.raises(ValueError, match=said):
        learn_policy(Study(**{**vars(study), **changed}), Design(), cost, 1.0)


def test_too_few_rows_are_said_to_be_too_few():
    study, _ = planted(1, 300)
    with pytest.raises(NotEnoughData, match="400 are needed, and 100 of each"):
        learn_policy(study, Design(), 1.0, 1.0)


def test_the_tree_is_told_and_drawn():
    study, _ = planted(1)
    found = learn_policy(study, Design(), cost=1.5, value=1.0)
    text = markdown(found, "EUR")
    assert "`recency` ≤ 0.3" in text or "`recency` ≤ 0.2" in text
    assert "**treat**" in text
    assert "**do not treat**" in text
    tree, curve = pictures(found, "EUR")
    drawn = ET.fromstring(tree.content)  # noqa: S314 - our own
    words = " ".join(drawn.itertext())
    assert "recency" in words
    assert "do not treat" in words
    assert b"curve-0" in curve.content
    assert (tree, curve) == pictures(found, "EUR")


ZERO = Estimated(value=0, low=0, high=0)


def rule(*nodes: PolicyNode) -> PolicyRule:
    return PolicyRule(
        kind="tree", cost=1, value_of_outcome=1, features=(PolicyFeature(name="a", missing=1.0),), nodes=nodes,
        learned_from=1, held_out=1, value=ZERO, treat_all=ZERO, over_all=ZERO, qini=None,
    )  # fmt: skip


def leaf(treated: bool) -> PolicyNode:
    return PolicyNode(treats=treated, gain=ZERO, share=0.5)


SPLIT = PolicyNode(feature="a", threshold=2.0, left=1, right=2, treats=False, gain=ZERO, share=1.0)


@given(arrays(np.float64, st.tuples(st.integers(0, 20), st.just(1)), elements=st.floats(-5, 5) | st.just(np.nan)))
def test_many_rows_go_the_way_that_each_goes_alone(rows):
    tree = rule(SPLIT, leaf(False), leaf(True))
    alone = [leaf_of(tree, {"a": None if np.isnan(row[0]) else float(row[0])})[0].treats for row in rows]
    assert treats(tree, rows).tolist() == alone
    assert PolicyRule.model_validate_json(tree.model_dump_json()) == tree


def test_what_led_to_a_leaf_is_told_and_a_feature_left_out_is_named():
    tree = rule(SPLIT, leaf(False), leaf(True))
    assert leaf_of(tree, {"a": 3.0})[1] == ["a > 2"]
    with pytest.raises(ValueError, match="give a: the policy asks for it"):
        leaf_of(tree, {})
    with pytest.raises(ValueError, match="a column for each of a"):
        leaves(tree, np.zeros((2, 2)))


@pytest.mark.parametrize(
    "nodes",
    [
        (SPLIT, leaf(False)),
        (SPLIT.model_copy(update={"left": 0}), leaf(False), leaf(True)),
        (SPLIT.model_copy(update={"feature": "b"}), leaf(False), leaf(True)),
        (leaf(True), leaf(True)),
    ],
)
def test_nodes_that_are_no_tree_are_refused(nodes):
    with pytest.raises(ValidationError):
        rule(*nodes)


def test_half_a_question_is_refused():
    with pytest.raises(ValidationError, match="or none of them"):
        PolicyNode(feature="a", treats=True, gain=ZERO, share=1.0)
