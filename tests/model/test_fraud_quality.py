"""The fraud model on the simulated shop, whose frauds are known: it beats the rules and comes close to the oracle."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.support.oracles import fraud_odds
from ml_assets.core.evaluation.classification import average_precision, recall_at
from ml_assets.core.features.customers import column_values
from ml_assets.core.features.order_risk import risk_table
from ml_assets.core.models import export, fraud
from ml_assets.core.models.fraud_scores import fraud_scores
from ml_assets.core.models.fraud_training import Trained, train_fraud
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.order_fraud import judge
from tests.model.simulated import simulated_marts

START, END = date(2024, 1, 1), date(2026, 1, 1)
CUSTOMERS = 8000
"""The default shop's 5,000 are enough to train on, but its holdout has two dozen frauds: too few for a sharp bar."""


@pytest.fixture(scope="module")
def con() -> Any:
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture(scope="module")
def tables(con) -> tuple[str, str, str]:
    marts = simulated_marts(con, customers=CUSTOMERS, end=END)
    con.register("risk_rows", risk_table(con, marts, START, END))
    con.execute("CREATE TABLE risk AS FROM risk_rows")
    return "SELECT * FROM risk", marts["fct_orders"], marts["fct_refunds"]


@pytest.fixture(scope="module")
def trained(con, tables) -> Trained:
    return train_fraud(con, *tables, data_start=START, data_end=END)


@pytest.fixture(scope="module")
def holdout(con, tables, trained) -> pa.Table:
    return fraud.labelled_rows(con, *tables, (trained.split.holdout, trained.split.until), trained.split.known)


def outcomes(trained: Trained) -> dict[str, bool]:
    return {check.check_name: check.passed for check in judge(trained)}


def oracle(con: duckdb.DuckDBPyConnection, holdout: pa.Table, *, knows_spend: bool) -> np.ndarray:
    """The odds of fraud to one who knows the rings and, with `knows_spend`, each customer's planted mean spend."""
    con.register("held_out", holdout.select(["order_id"]).append_column("place", pa.array(range(len(holdout)))))
    known = con.execute("""
        SELECT c.ring_id IS NOT NULL AS in_ring, p.by_card,
            coalesce(CAST(o.total_amount AS DOUBLE) / c.mean_order_amount, 1) AS spent
        FROM held_out h JOIN fct_orders o USING (order_id) LEFT JOIN truth_customers c USING (customer_id)
        JOIN (SELECT order_id, bool_or(card_fingerprint IS NOT NULL) AS by_card FROM fct_payments GROUP BY 1) p
            USING (order_id)
        ORDER BY h.place""").fetchnumpy()
    return fraud_odds(known["in_ring"], known["by_card"], known["spent"] if knows_spend else None)


def probabilities(trained: Trained, rows: pa.Table) -> np.ndarray:
    return export.predict(trained.form.content, column_values(rows, trained.names))


def test_mature_labels_are_the_truth(con, holdout):
    known = {row[0] for row in con.execute("SELECT order_id FROM truth_fraud_orders").fetchall()}
    labels = dict(zip(holdout["order_id"].to_pylist(), fraud.target(holdout), strict=True))
    assert {order for order, label in labels.items() if label} == known & labels.keys()


def test_it_beats_the_rules_by_rank_and_by_cost_and_passes_its_checks(trained):
    assert trained.precision.low > trained.rules_precision.value > trained.prior
    assert trained.loss.model < trained.loss.rules < trained.loss.nothing
    assert set(outcomes(trained).values()) == {True}
    assert trained.form.parity_rows >= 20_000


def test_it_comes_close_to_one_who_knows_the_rings(con, trained, holdout, record_property):
    labels, found = fraud.target(holdout), trained.precision.value
    knows_rings = average_precision(labels, oracle(con, holdout, knows_spend=False))
    knows_all = average_precision(labels, np.minimum(oracle(con, holdout, knows_spend=True), 1e12))
    record_property("auprc", {"model": found, "knows_rings": knows_rings, "knows_all": knows_all})
    record_property("recall_at_1pct_fpr", trained.recall)
    assert found >= 0.9 * knows_rings
    assert found >= 0.85 * knows_all, "0.93 here, 0.90 of 5,000 and 12,000 customers: first orders tell no mean spend"
    reached = recall_at(labels, oracle(con, holdout, knows_spend=False), 0.01)
    assert trained.recall >= 0.9 * reached


def test_a_second_training_gives_the_same_bytes(con, tables, trained):
    again = train_fraud(con, *tables, data_start=START, data_end=END)
    assert again.form.content == trained.form.content
    assert again.card == trained.card


def test_training_knows_only_what_was_known_when_the_holdout_began(con, tables, trained):
    risk, orders, refunds = tables
    later = f"SELECT * FROM ({refunds}) WHERE refunded_at < TIMESTAMPTZ '{trained.split.holdout} 00:00:00+00'"
    days = (trained.split.training, trained.split.trained_until)
    rows = fraud.labelled_rows(con, *tables, days, trained.split.holdout)
    assert rows.equals(fraud.labelled_rows(con, risk, orders, later, days, trained.split.holdout))
    assert fraud.target(rows).sum() == trained.training_frauds


def test_a_feature_that_knows_the_answer_raises_the_alarm(con, tables):
    risk, orders, refunds = tables
    leaking = f"""
        SELECT r.* REPLACE ((
            SELECT count(*) FROM ({refunds}) f WHERE f.order_id = r.order_id AND f.reason = 'chargeback'
        ) AS declined_7d) FROM ({risk}) r"""
    con.execute(f"CREATE OR REPLACE TABLE leaking AS {leaking}")
    found = train_fraud(con, "SELECT * FROM leaking", orders, refunds, data_start=START, data_end=END)
    assert next(iter(found.alone)) == "declined_7d"
    assert not outcomes(found)["no_leaking_feature"]


def test_a_model_that_learned_from_mixed_up_orders_fails_against_the_rules(con, tables, trained):
    risk, orders, refunds = tables
    con.execute(f"""
        CREATE OR REPLACE TABLE mixed_up AS
        SELECT * REPLACE (
            CASE WHEN order_date < DATE '{trained.split.holdout}'
                THEN lead(order_id, 1, order_id) OVER (ORDER BY hash(order_id)) ELSE order_id END AS order_id)
        FROM ({risk})""")
    found = train_fraud(con, "SELECT * FROM mixed_up", orders, refunds, data_start=START, data_end=END)
    assert not outcomes(found)["beats_rules"]
    assert outcomes(found)["onnx_parity"]


def registered(trained: Trained) -> Registered:
    return Registered(fraud.NAME, "4", trained.form.content, trained.card)


def test_scores_of_the_latest_orders_say_what_to_look_at_and_why(con, tables, trained):
    risk, orders, _ = tables
    days = (date(2025, 12, 1), END)
    table = fraud_scores(con, risk, orders, registered(trained), days)
    rows = table.to_pylist()
    con.register("scored", table)
    ((orders_count, cancelled),) = con.execute(f"""
        SELECT count(*) FILTER (NOT is_cancelled), count(*) FILTER (is_cancelled AND order_id IN (
            SELECT order_id FROM scored)) FROM ({orders}) WHERE order_date >= DATE '2025-12-01'""").fetchall()
    assert (len(rows), cancelled) == (orders_count, 0)
    amounts = dict(con.execute(f"SELECT order_id, CAST(total_amount AS DOUBLE) FROM ({orders})").fetchall())
    for row in rows:
        assert 0 <= row["fraud_probability"] <= 1
        assert row["is_review"] == (row["fraud_probability"] * amounts[row["order_id"]] > fraud.REVIEW_COST)
        assert (row["reasons"] is not None) == row["is_review"]
    reviewed = [row for row in rows if row["is_review"]]
    assert 0 < len(reviewed) < len(rows) / 10
    assert any("linked_customers" in row["reasons"] or "card_others" in row["reasons"] for row in reviewed)
    known = {row[0] for row in con.execute("SELECT order_id FROM truth_fraud_orders").fetchall()}
    assert np.mean([row["order_id"] in known for row in reviewed]) > 0.3


def test_without_a_model_no_order_has_a_score_and_a_model_of_other_features_is_refused(con, tables, trained):
    risk, orders, _ = tables
    days = (date(2025, 12, 1), END)
    assert len(fraud_scores(con, risk, orders, None, days)) == 0
    other = f"SELECT * EXCLUDE (card_others) FROM ({risk})"
    with pytest.raises(NoModel, match="takes card_others, which the feature table does not have"):
        fraud_scores(con, other, orders, registered(trained), days)
