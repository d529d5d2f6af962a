"""The parts of the fraud model: labels that come late, the split by time, the rules, and what a decision costs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ml_assets.core.evaluation.classification import average_precision, interval, recall_at, single_feature_scores
from ml_assets.core.models import fraud
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.fraud_training import train_fraud

START = date(2024, 1, 1)
DAY = timedelta(days=1)


@given(start=st.dates(date(2000, 1, 1), date(2030, 1, 1)), length=st.integers(1, 1500))
@settings(max_examples=100)
def test_no_part_has_an_order_whose_label_may_not_have_come(start, length):
    end = start + length * DAY
    try:
        found = fraud.split(data_start=start, data_end=end)
    except TooYoung:
        assert length < 420
        return
    maturity = fraud.MATURITY_DAYS * DAY
    assert found.trained_until + maturity == found.holdout
    assert found.until + maturity == found.known == end
    assert found.training == start
    assert found.trained_until - start >= fraud.SHORTEST_DAYS * DAY
    assert found.until - found.holdout == fraud.HOLDOUT_DAYS * DAY


def test_too_short_a_history_is_refused_with_its_cure():
    with pytest.raises(TooYoung, match=r"from 2024-01-01 to 2025-01-01 are 366 days\. Load at least 420 days"):
        fraud.split(data_start=START, data_end=date(2025, 1, 1))


def test_the_label_is_a_chargeback_that_was_known_by_then():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    known = date(2024, 6, 1)
    midnight = datetime(2024, 6, 1, tzinfo=UTC)
    cases = {  # seconds after the known date, reason, is cancelled, label
        "just before": (-1, "chargeback", False, 1),
        "too late": (0, "chargeback", False, 0),
        "returned": (-1, "return", False, 0),
        "cancelled": (-1, "return", True, None),
        "cancelled as it was charged back": (-1, "chargeback", True, 1),
    }
    names, dates = [*cases, "kept", "younger"], [date(2024, 1, 5)] * 6 + [date(2024, 2, 1)]
    cancelled = [one[2] for one in cases.values()] + [False, False]
    con.register("risk", pa.table({"order_id": names, "order_date": dates}))
    con.register("orders", pa.table({"order_id": names, "is_cancelled": cancelled}))
    con.register(
        "refunds",
        pa.table(
            {
                "order_id": [*cases, "just before"],
                "refunded_at": [midnight + timedelta(seconds=one[0]) for one in cases.values()] + [midnight - DAY],
                "reason": [one[1] for one in cases.values()] + ["chargeback"],
            }
        ),
    )
    days = (date(2024, 1, 1), date(2024, 2, 1))
    rows = fraud.labelled_rows(con, "FROM risk", "FROM orders", "FROM refunds", days, known).to_pylist()
    assert {row["order_id"]: row["is_fraud"] for row in rows} == {
        **{name: label for name, (_, _, _, label) in cases.items() if label is not None},
        "kept": 0,
    }
    assert len(rows) == 5, "no row is doubled by its refunds"


def make_orders(**columns: list) -> pa.Table:
    names = (
        "orders_24h",
        "card_orders_24h",
        "is_sent_elsewhere",
        "amount_to_shop_mean",
        "card_others",
        "device_others",
    )
    size = len(next(iter(columns.values())))
    return pa.table({name: columns.get(name, [0] * size) for name in names})


def test_rules_count_what_an_order_breaks_and_what_is_unknown_breaks_none():
    rows = make_orders(
        orders_24h=[0, 2, 0, 0, 0],
        card_orders_24h=[None, None, 3, 0, 0],
        is_sent_elsewhere=[None, 0, 1, 0, 0],
        amount_to_shop_mean=[None, 1.0, 3.0, 2.9, 0.0],
        card_others=[None, 0, 1, 0, 0],
        device_others=[None, 0, 1, 0, 1],
    )
    assert fraud.rules_fired(rows).tolist() == [0, 1, 4, 0, 1]


def test_an_order_is_reviewed_where_more_is_lost_on_average_than_a_review_costs():
    probabilities, amounts = np.array([0.5, 0.5, 0.01, 0.011]), np.array([10.0, 10.01, 500.0, 500.0])
    assert fraud.is_reviewed(probabilities, amounts).tolist() == [False, True, False, True]


def test_the_loss_is_reviews_and_missed_frauds():
    labels, amounts = np.array([1, 1, 0, 0]), np.array([100.0, 40.0, 70.0, 30.0])
    assert fraud.loss(labels, amounts, np.array([True, False, True, False])) == 5 + 40 + 5
    assert fraud.loss(labels, amounts, np.zeros(4, bool)) == 140


def test_as_many_rules_are_asked_for_as_cost_least():
    labels, fired = np.array([1, 0, 0, 0, 0]), np.array([2.0, 1, 1, 0, 0])
    assert fraud.rules_needed(labels, fired, np.full(5, 50.0)) == 2
    assert fraud.rules_needed(labels, fired, np.full(5, 1.0)) == 3, "not worth a review at all"
    assert fraud.rules_needed(np.array([1, 1, 1, 0, 0]), fired, np.full(5, 50.0)) == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1000), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=100)
def test_no_other_decision_costs_less_where_the_probabilities_are_true(orders):
    probabilities, amounts = np.array([o[0] for o in orders]), np.array([o[1] for o in orders])
    chosen, other = fraud.is_reviewed(probabilities, amounts), np.array([o[2] for o in orders])

    def expected(reviewed):
        return np.where(reviewed, fraud.REVIEW_COST, probabilities * amounts).sum()

    assert expected(chosen) <= expected(other) + 1e-9


def test_too_few_frauds_are_refused_in_training_and_in_the_holdout():
    rows = pa.table({"customer_id": [None] * 200, "order_id": [str(n) for n in range(200)],
                     "x": np.arange(200.0), "is_fraud": (np.arange(200) < 29).astype(np.int64)})  # fmt: skip
    with pytest.raises(NotEnoughData, match=r"at least 30 frauds to learn from: of 200 orders .* 29 were charged back"):
        fraud.train(rows, ["x"])
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    risk = "SELECT '1' AS order_id, DATE '2024-01-01' AS order_date, 1.0::DOUBLE AS total_amount"
    orders = "SELECT '1' AS order_id, false AS is_cancelled"
    refunds = "SELECT NULL::VARCHAR AS order_id, NULL::TIMESTAMPTZ AS refunded_at, NULL::VARCHAR AS reason"
    with pytest.raises(NotEnoughData, match=r"cannot be evaluated: of 0 orders from .* 0 were charged back"):
        train_fraud(con, risk, orders, refunds, data_start=START, data_end=date(2026, 1, 1))


def test_recall_at_a_rate_of_false_alarms_counts_no_more_of_them():
    labels = np.array([1, 0, 1, *[0] * 99])
    scores = np.array([0.9, 0.8, 0.7, *[0.1] * 99])
    assert recall_at(labels, scores, 0.005) == 0.5
    assert recall_at(labels, scores, 0.01) == 1.0
    assert recall_at(labels, np.ones(102), 0.01) == 0, "scores that tell nothing apart find nothing"


@given(data=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=60))
@settings(max_examples=100)
def test_the_average_precision_is_sklearns(data):
    labels, scores = np.array(data).T
    if labels.any():
        assert average_precision(labels, scores / 3) == pytest.approx(average_precision_score(labels, scores / 3))
    else:
        assert np.isnan(average_precision(labels, scores / 3))


def test_the_precision_of_known_scores():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(labels, scores) == pytest.approx((1 + 2 / 3) / 2)
    found = interval(np.repeat(labels, 50), np.repeat(scores, 50), average_precision)
    assert found.low < found.value < found.high
    alone = single_feature_scores(labels, np.column_stack([scores, -labels]), ["score", "answer"], average_precision)
    assert alone == {"answer": 1.0, "score": pytest.approx(5 / 6)}
