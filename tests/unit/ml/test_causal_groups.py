"""Effects by group: they are those that were planted, add up to the effect, and each row is in one group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.effect import SMOOTH
from ml_assets.core.causal.groups import FEWEST_OF_ARM, groups_of
from ml_assets.core.causal.study import Covariates, Design, Study

EFFECTS = {"web": 1.0, "app": 4.0}
WORDS = Covariates(("channel=app", "channel=shop"), np.array([[0, 0], [1, 0], [0, 1], [0, 0.0]]), {"channel": "web"})


def study(seed: int, rows: int = 4000, *, per_cluster: int = 1) -> Study:
    """The app's customers were treated more often and gain 4, the web's gain 1; age moves the outcome alone."""
    draw = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(rows // per_cluster), per_cluster)
    app = (draw.random(rows // per_cluster) < 0.4)[cluster].astype(float)
    age = draw.uniform(20, 70, rows)
    treated = (draw.random(rows) < 0.3 + 0.3 * app).astype(float)
    gained = treated * np.where(app == 1, EFFECTS["app"], EFFECTS["web"])
    outcome = gained + 0.1 * age + 2 * app + draw.normal(size=rows) + draw.normal(size=rows // per_cluster)[cluster]
    both = Covariates(("channel=app", "age"), np.column_stack([app, age]), {"channel": "web"})
    clusters = cluster if per_cluster > 1 else None
    return Study(treated, outcome, both, both, clusters=clusters, levels=("no", "yes"))


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
@pytest.mark.parametrize("per_cluster", [1, 4])
def test_the_effect_in_each_group_is_found(estimand, per_cluster):
    found = assess(study(1, per_cluster=per_cluster), Design(estimand=estimand), SMOOTH)
    by = {(one.modifier, one.value): one for one in found.groups}
    assert len(by) == len(found.groups) == 6, "two channels and four quarters of age"
    for channel, truth in EFFECTS.items():
        told = by["channel", channel]
        assert told.estimate.holds(truth)
        assert 0.1 < told.estimate.high - told.estimate.low < 0.6
        assert told.contrast == "yes against no"
    assert [value.split()[0] for modifier, value in by if modifier == "age"][::3] == ["up", "over"]


@pytest.mark.parametrize("estimand", ["ATE", "ATT"])
def test_the_effects_of_the_groups_add_up_to_the_effect(estimand):
    found = assess(study(2), Design(estimand=estimand, trims=False), SMOOTH)
    for modifier in ("channel", "age"):
        groups = [one for one in found.groups if one.modifier == modifier]
        total = sum(one.rows for one in groups)
        assert total == (found.treated if estimand == "ATT" else 4000)
        assert sum(one.rows * one.estimate.ate for one in groups) / total == pytest.approx(found.effect.ate)


def test_a_group_of_few_rows_has_no_effect():
    few = study(3)
    channel = np.zeros((4000, 2))
    channel[:, 0] = few.modifiers.values[:, 0]
    channel[: FEWEST_OF_ARM - 1] = [0, 1]
    words = Covariates(("channel=app", "channel=fax"), channel, {"channel": "web"})
    found = assess(Study(few.treatment, few.outcome, few.confounders, words), Design(), SMOOTH)
    assert {one.value for one in found.groups} == {"web", "app"}


def test_words_are_groups_by_their_value_and_the_most_frequent_is_one_too():
    assert [(one.modifier, one.value, one.rows.tolist()) for one in groups_of(WORDS)] == [
        ("channel", "web", [True, False, False, True]),
        ("channel", "app", [False, True, False, False]),
        ("channel", "shop", [False, False, True, False]),
    ]
    assert [one.value for one in groups_of(WORDS.only({"channel"}).of(np.array([0, 1])))] == ["web", "app", "shop"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, 2, 1, 2], ["1", "2"]),
        ([0, np.nan, 0, 1], ["0", "1", "empty"]),
        (list(range(12)), ["up to 2", "2 to 5", "5 to 8", "over 8"]),
        ([0] * 90 + list(range(1, 12)), ["up to 0", "over 0"]),
        ([20] * 90 + list(range(12)), ["up to 11", "over 11"]),
    ],
)
def test_an_amount_is_its_values_or_its_quarters(values, told):
    column = Covariates(("x",), np.array(values, dtype=float)[:, None])
    assert [one.value for one in groups_of(column)] == told


@given(arrays(np.float64, st.integers(1, 60), elements=st.integers(-900, 900).map(float) | st.just(np.nan)))
@settings(max_examples=60)
def test_each_row_is_in_one_group_of_an_amount_and_none_is_empty(values):
    groups = list(groups_of(Covariates(("x",), values[:, None])))
    assert (np.sum([one.rows for one in groups], axis=0) == 1).all()
    assert all(one.rows.any() for one in groups)
    assert len({one.value for one in groups}) == len(groups)
