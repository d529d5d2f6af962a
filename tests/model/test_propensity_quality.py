"""The purchase propensity on a shop with known rates: it beats the rules, comes close to the oracle, and repeats."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from ml_assets.core.evaluation.classification import auc, evaluate
from ml_assets.core.features.customers import OPTIONAL_MARTS, REQUIRED_MARTS, column_values, feature_table
from ml_assets.core.models import classifier
from ml_assets.core.models.classifier_training import Trained, train_classifier
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.export import predict
from ml_assets.core.models.propensities import CONTRACT, purchase_propensities
from ml_assets.core.models.propensity import HORIZON_DAYS, QUESTION
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.purchase_propensity import judge
from tests.model.planted import END_DAY, START, date_of

DATES = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(1, 22)]


@pytest.fixture(scope="module")
def tables(con, marts) -> tuple[str, str]:
    chosen = {name: marts[name] for name in (*REQUIRED_MARTS, *OPTIONAL_MARTS) if name in marts}
    con.register("propensity_rows", feature_table(con, chosen, DATES))
    return "FROM propensity_rows", marts["fct_orders"]


def train(con, features: str, orders: str) -> Trained:
    return train_classifier(con, QUESTION, features, orders, DATES, data_start=START, data_end=date_of(END_DAY))


@pytest.fixture(scope="module")
def trained(con, tables) -> Trained:
    return train(con, *tables)


def outcomes(trained: Trained) -> dict[str, bool]:
    return {check.check_name: check.passed for check in judge(trained)}


def test_it_passes_its_checks(trained):
    """All but one that is in place: nobody new comes to this shop, so what was learned is a fifth too high."""
    found = outcomes(trained)
    assert found == {name: name != "is_calibrated" for name in found}
    rate = trained.scores.positives / trained.scores.rows
    assert trained.probabilities.mean() == pytest.approx(1.2 * rate, rel=0.05)
    assert trained.scores.ece < 2 * classifier.CALIBRATION_ERROR
    assert trained.scores.auc.low > max(trained.baselines["recency_rule"], trained.baselines["frequency_rule"])


def test_it_comes_close_to_one_who_knows_each_customers_rates(con, tables, trained, shop):
    holdout = classifier.labelled_rows(con, QUESTION, *tables, [trained.split.holdout])
    labels = classifier.target(QUESTION, holdout)
    since = holdout["recency_days"].fill_null(0).to_numpy()  # who never ordered is alive, as far as anyone can tell
    silence = shop.oracle(holdout["customer_id"].to_pylist(), np.asarray(since), HORIZON_DAYS)
    assert trained.scores.auc.value >= auc(labels, -silence) - 0.03
    assert trained.scores.lift >= 0.85 * evaluate(labels, 1 - silence).lift


def test_a_second_training_gives_the_same_bytes(con, tables, trained):
    assert train(con, *tables).form.content == trained.form.content


def test_where_too_few_tell_whether_it_beats_a_rule_there_is_no_model(con, tables, trained):
    rule = {"twin": lambda rows: predict(trained.form.content, column_values(rows, trained.names))}
    twin = replace(QUESTION, rules=rule)
    with pytest.raises(NotEnoughData, match=r"not shown to be better than the twin: .* may be chance among"):
        train_classifier(con, twin, *tables, DATES, data_start=START, data_end=date_of(END_DAY))


def test_who_is_long_gone_has_a_propensity_too_and_a_low_one(con, tables, trained):
    features, _ = tables
    model = Registered(QUESTION.name, "3", trained.form.content, trained.card)
    found = purchase_propensities(con, features, model, trained.split.holdout)
    known = con.execute(f"SELECT * FROM ({features}) WHERE as_of_date = ? ORDER BY 1", [trained.split.holdout])
    rows = known.to_arrow_table()
    assert found.schema == CONTRACT.arrow_schema()
    assert found["customer_id"].to_pylist() == rows["customer_id"].to_pylist()
    recency = rows["recency_days"].fill_null(0).to_numpy()
    probability = found["purchase_probability"].to_numpy()
    assert probability[recency > 180].mean() < 0.05 < probability[recency < 30].mean()
    assert set(found["propensity_model_version"].to_pylist()) == {"3"}


def test_a_model_that_takes_what_is_not_there_says_so(con, tables, trained):
    features, _ = tables
    model = Registered(QUESTION.name, "3", trained.form.content, trained.card)
    fewer = f"SELECT * EXCLUDE (orders_90d) FROM ({features})"
    with pytest.raises(NoModel, match=r"takes orders_90d, .* materialize models/purchase_propensity"):
        purchase_propensities(con, fewer, model, trained.split.holdout)
