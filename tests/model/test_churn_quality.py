"""The churn model on a shop whose rates are known: it beats its baselines, comes close to the oracle, and repeats."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest

from ml_assets.core.evaluation.classification import auc
from ml_assets.core.features.customers import OPTIONAL_MARTS, REQUIRED_MARTS, feature_table
from ml_assets.core.models import churn, classifier, export
from ml_assets.core.models.classifier_training import Trained, train_classifier
from ml_assets.defs.training.churn_classifier import judge
from tests.model.planted import END_DAY, START, date_of

DATES = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(1, 22)]


@pytest.fixture(scope="module")
def tables(con, marts) -> tuple[str, str]:
    chosen = {name: marts[name] for name in (*REQUIRED_MARTS, *OPTIONAL_MARTS) if name in marts}
    con.register("feature_rows", feature_table(con, chosen, DATES))
    return "FROM feature_rows", marts["fct_orders"]


def train(con: duckdb.DuckDBPyConnection, features: str, orders: str) -> Trained:
    return train_classifier(con, churn.QUESTION, features, orders, DATES, data_start=START, data_end=date_of(END_DAY))


@pytest.fixture(scope="module")
def trained(con, tables) -> Trained:
    return train(con, *tables)


def outcomes(trained: Trained) -> dict[str, bool]:
    return {check.check_name: check.passed for check in judge(trained)}


def test_it_beats_both_baselines(trained):
    assert trained.scores.auc.value > max(trained.baselines.values())
    assert trained.scores.auc.low > trained.baselines["recency_rule"]


def test_it_comes_close_to_one_who_knows_each_customers_rates(con, tables, trained, shop):
    holdout = classifier.labelled_rows(con, churn.QUESTION, *tables, [trained.split.holdout])
    oracle = shop.oracle(holdout["customer_id"].to_pylist(), holdout["recency_days"].to_numpy(), churn.HORIZON_DAYS)
    assert trained.scores.auc.value >= auc(classifier.target(churn.QUESTION, holdout), oracle) - 0.02


def test_it_passes_its_blocking_checks(trained):
    found = outcomes(trained)
    assert all(found[name] for name in ("beats_baseline", "onnx_parity", "no_leaking_feature"))
    assert trained.scores.ece < 0.08  # the planted shop stops winning customers, so that its churn rate drifts
    assert trained.form.parity_rows >= 20_000


def test_a_second_training_gives_the_same_bytes(con, tables, trained):
    again = train(con, *tables)
    assert again.form.content == trained.form.content
    assert again.metrics == trained.metrics


def test_a_model_that_learned_from_mixed_up_customers_fails_the_baseline_check(con, tables, trained):
    features, orders = tables
    con.execute(
        f"""
        CREATE OR REPLACE TABLE mixed_up AS
        SELECT * REPLACE (
            CASE WHEN as_of_date < $holdout
                THEN lead(customer_id, 1, customer_id) OVER (PARTITION BY as_of_date ORDER BY hash(customer_id))
                ELSE customer_id END AS customer_id)
        FROM ({features})""",
        {"holdout": trained.split.holdout},
    )
    found = train(con, "SELECT * FROM mixed_up", orders)
    assert not outcomes(found)["beats_baseline"]
    assert outcomes(found)["onnx_parity"]


def test_a_feature_that_knows_the_answer_raises_the_alarm(con, tables):
    features, orders = tables
    leaking = f"""
        SELECT f.* REPLACE (CAST((
            SELECT count(*) FROM ({orders}) o WHERE o.customer_id = f.customer_id AND NOT o.is_cancelled
                AND CAST(o.ordered_at AS DATE) BETWEEN f.as_of_date AND f.as_of_date + 89
        ) AS DOUBLE) AS products_count) FROM ({features}) f"""
    con.execute(f"CREATE OR REPLACE TABLE leaking AS {leaking}")
    found = train(con, "SELECT * FROM leaking", orders)
    assert not outcomes(found)["no_leaking_feature"]
    assert next(iter(found.feature_aucs)) == "products_count"


def test_scores_are_probabilities_of_the_exported_model(con, tables, trained):
    from ml_assets.core.features.customers import column_values

    rows = classifier.labelled_rows(con, churn.QUESTION, *tables, [trained.split.holdout])
    scores = export.predict(trained.form.content, column_values(rows, trained.names))
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(set(scores.round(6))) > 100
