"""The parts of the churn model: the split by time, the label, the baselines, the scores, and the exported form."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from ml_assets.core.evaluation.classification import advantage, auc, evaluate, interval, single_feature_scores
from ml_assets.core.models import churn, classifier, export, propensity
from ml_assets.core.models.classifier_training import train_classifier
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.training import fit_calibrated

START = date(2024, 1, 1)


def days(*numbers: int) -> list[date]:
    return [START + timedelta(days=number) for number in numbers]


@given(
    start=st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    length=st.integers(1, 900),
    step=st.sampled_from([1, 7, 30]),
)
@settings(max_examples=100)
def test_no_label_window_reaches_into_the_holdout_or_beyond_the_data(start, length, step):
    end = start + timedelta(days=length)
    dates = [start + timedelta(days=number) for number in range(step, length + 1, step)]
    try:
        found = classifier.split(churn.QUESTION, dates, data_start=start, data_end=end)
    except NotEnoughData:
        assert length < 2 * churn.HORIZON_DAYS + 2 * step
        return
    horizon = timedelta(days=churn.HORIZON_DAYS)
    assert found.holdout + horizon <= end
    assert all(day + horizon <= found.holdout for day in found.training)
    gaps = [(later - earlier).days for earlier, later in zip(found.training, found.training[1:], strict=False)]
    assert all(gap >= churn.QUESTION.spacing_days for gap in gaps)
    assert not [day for day in dates if found.holdout < day <= end - horizon], "the holdout is the latest possible"


def test_dates_with_a_short_history_are_left_out_where_others_remain():
    with_history = classifier.split(
        churn.QUESTION, days(30, 60, 90, 120, 300), data_start=START, data_end=START + timedelta(days=400)
    )
    assert list(with_history.training) == days(90, 120)
    without = classifier.split(
        churn.QUESTION, days(30, 60, 300), data_start=START, data_end=START + timedelta(days=400)
    )
    assert list(without.training) == days(30, 60)


def test_too_short_a_history_is_refused_with_its_cure():
    with pytest.raises(NotEnoughData, match=r"data from 2024-01-01 to 2024-06-01, 2 of 5 .* Load at least 211"):
        classifier.split(churn.QUESTION, days(31, 60, 91, 121, 152), data_start=START, data_end=date(2024, 6, 1))


def test_the_label_is_no_standing_order_in_the_ninety_days_from_the_as_of_date_on():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    as_of = date(2024, 6, 1)
    midnight = datetime(2024, 6, 1, tzinfo=UTC)
    cases = {  # seconds after the as-of date, is cancelled, churned
        "on the day": (0, False, 0),
        "just before": (-1, False, 1),
        "last moment": (90 * 86400 - 1, False, 0),
        "too late": (90 * 86400, False, 1),
        "cancelled": (5 * 86400, True, 1),
    }
    con.register(
        "features",
        pa.table(
            {"customer_id": [*cases, "silent", "gone"], "as_of_date": [as_of] * 7, "recency_days": [9] * 6 + [181]}
        ),
    )
    con.register(
        "orders",
        pa.table(
            {
                "customer_id": list(cases),
                "ordered_at": [midnight + timedelta(seconds=seconds) for seconds, _, _ in cases.values()],
                "is_cancelled": [cancelled for _, cancelled, _ in cases.values()],
            }
        ),
    )
    rows = classifier.labelled_rows(con, churn.QUESTION, "FROM features", "FROM orders", [as_of]).to_pylist()
    assert {row["customer_id"]: row["churned"] for row in rows} == {
        **{name: churned for name, (_, _, churned) in cases.items()},
        "silent": 1,
    }
    rows = classifier.labelled_rows(con, propensity.QUESTION, "FROM features", "FROM orders", [as_of]).to_pylist()
    bought = {row["customer_id"]: row["bought"] for row in rows}
    assert bought.keys() == {*cases, "silent", "gone"}, "who is long gone may come back"
    assert {customer for customer, label in bought.items() if label} == {"on the day"}, "of the next thirty days"


def test_training_on_one_kind_of_customer_is_refused():
    rows = pa.table({"customer_id": ["A", "B"] * 50, "x": np.arange(100.0), "churned": np.zeros(100, np.int64)})
    with pytest.raises(NotEnoughData, match="of 100 training rows 0 churned"):
        classifier.train(churn.QUESTION, rows, ["x"])


def test_columns_that_tell_nothing_apart_are_not_used():
    rows = pa.table({"customer_id": ["A", "B"], "as_of_date": days(1, 2), "x": [1, 2], "same": [3, 3],
                     "null": pa.nulls(2, pa.float64()), "once": [None, 1.0], "churned": [0, 1]})  # fmt: skip
    assert classifier.informative(churn.QUESTION, rows) == ("x",)


def test_scores_of_known_predictions():
    draw = np.random.default_rng(1)
    truth = draw.random(20_000)
    labels = (draw.random(20_000) < truth).astype(np.int64)
    good = evaluate(labels, truth)
    assert good.ece < 0.02
    assert good.brier == pytest.approx(1 / 6, abs=0.01)
    assert good.auc.low < 5 / 6 < good.auc.high
    assert good.lift == pytest.approx(0.95 / 0.5, abs=0.05)
    assert evaluate(labels, truth / 2).ece == pytest.approx(0.25, abs=0.02)


def test_the_interval_is_the_same_each_time():
    labels, scores = np.array([0, 1] * 50), np.linspace(0, 1, 100)
    assert interval(labels, scores) == interval(labels, scores)


def test_a_feature_that_knows_the_answer_is_seen_in_either_direction():
    labels = np.array([0, 1] * 100)
    noise = np.random.default_rng(1).normal(size=200)
    matrix = np.column_stack([noise, -labels, np.where(labels == 1, np.nan, 1.0)]).astype(np.float32)
    found = single_feature_scores(labels, matrix, ["noise", "answer", "null where churned"])
    assert found["answer"] == found["null where churned"] == 1.0
    assert found["noise"] < 0.65
    assert list(found)[-1] == "noise"


def test_a_feature_that_knows_the_answer_is_seen_where_it_neither_rises_nor_falls_with_it():
    """Churn between 30 and 60 days of something, or on even numbers of it; what tells nothing is not taken for more."""
    draw = np.random.default_rng(2)
    days, steps, noise = draw.uniform(0, 90, 3000), draw.integers(0, 12, 3000), draw.normal(size=3000)
    between = ((days > 30) & (days < 60)).astype(int)
    matrix = np.column_stack([days, noise]).astype(np.float32)
    found = single_feature_scores(between, matrix, ["days", "noise"])
    assert found["days"] > 0.95
    assert found["noise"] < 0.55
    even = single_feature_scores(steps % 2, np.column_stack([steps, noise]).astype(np.float32), ["steps", "noise"])
    assert even["steps"] == 1.0
    assert even["noise"] < 0.55


@pytest.fixture(scope="module")
def small_model():
    from sklearn.ensemble import HistGradientBoostingClassifier

    matrix = np.random.default_rng(5).normal(size=(400, 3)).astype(np.float32)
    matrix[::7, 1] = np.nan
    return HistGradientBoostingClassifier(max_iter=15).fit(matrix, matrix[:, 0] > 0), matrix


def test_the_exported_model_agrees_also_where_no_row_has_been(small_model):
    model, matrix = small_model
    worst, rows = export.parity(model, export.to_onnx(model, "small", 3), matrix)
    assert worst < 1e-6
    assert rows == export.PARITY_ROWS


def test_parity_sees_a_wrong_export(small_model):
    from sklearn.ensemble import HistGradientBoostingClassifier

    model, matrix = small_model
    other = HistGradientBoostingClassifier(max_iter=15).fit(matrix, matrix[:, 0] > 0.05)
    assert export.parity(model, export.to_onnx(other, "small", 3), matrix)[0] > 1e-5


def test_the_same_model_gives_the_same_bytes(small_model):
    model, _ = small_model
    assert export.to_onnx(model, "small", 3) == export.to_onnx(model, "small", 3)


def test_the_bytes_do_not_hang_on_the_order_in_which_the_converter_lists_its_versions(small_model, monkeypatch):
    import skl2onnx

    model, _ = small_model
    expected, convert = export.to_onnx(model, "small", 3), skl2onnx.to_onnx

    def reversed_versions(*given, **options):
        made = convert(*given, **options)
        versions = list(made.opset_import)[::-1]
        assert len(versions) > 1
        del made.opset_import[:]
        made.opset_import.extend(versions)
        return made

    monkeypatch.setattr(skl2onnx, "to_onnx", reversed_versions)
    assert export.to_onnx(model, "small", 3) == expected


@pytest.mark.parametrize("seed", range(6))
def test_features_that_tell_nothing_make_no_model(seed):
    """Half of such models rank a little better than a constant, as half of all coins do."""
    from sklearn.linear_model import LogisticRegression

    draw, con = np.random.default_rng(seed), duckdb.connect(config={"threads": 1})
    dates = [date(2024, month, 1) for month in range(1, 13)]
    rows = 400 * len(dates)
    noise = {name: draw.normal(size=rows) for name in ("recency_days", "orders_count", "spend_amount")}
    con.register(
        "noise",
        pa.table(
            {
                "customer_id": [f"C{number % 400}" for number in range(rows)],
                "as_of_date": np.repeat(np.array(dates, "datetime64[D]"), 400),
                **noise,
            }
        ),
    )
    happened = np.datetime64(START) + draw.integers(0, 366, 1500)
    con.register(
        "events", pa.table({"customer_id": [f"C{who}" for who in draw.integers(0, 400, 1500)], "day": happened})
    )
    question = classifier.Question(
        name="noise",
        title="The model of noise",
        label="came",
        is_event=True,
        horizon_days=30,
        population="true",
        spacing_days=28,
        rules={"prior": lambda rows: np.zeros(len(rows))},
        events="FROM ({events})",
        is_about_orders=False,
        features=tuple(noise),
        steps=lambda _: [LogisticRegression()],
    )
    with pytest.raises(NotEnoughData, match=r"not shown to be better than the prior: .* may be chance among 400"):
        train_classifier(
            con, question, "FROM noise", "FROM events", dates, data_start=START, data_end=date(2024, 12, 31)
        )


def test_what_is_hard_for_both_widens_no_advantage():
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 500)
    baseline = labels + draw.normal(0, 2, 500)
    better = baseline + 0.2 * labels
    found, alone = advantage(labels, better, baseline), interval(labels, better)
    assert found.value == auc(labels, better) - auc(labels, baseline)
    assert found.low > 0
    assert found.high - found.low < (alone.high - alone.low) / 4
    assert advantage(labels, baseline, baseline) == (0, 0, 0)


class Threaded(DummyClassifier):
    """Keeps with how many threads it was fitted."""

    seen: ClassVar[set[int]] = set()

    def fit(self, *given: Any) -> Any:
        """Keep that."""
        pools = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}
        self.seen.update(pools)
        return super().fit(*given)


def test_a_classifier_is_fitted_by_one_thread_whatever_the_process_may_use():
    """By two, histograms were added up as these ended: purchase_propensity had other last digits than with one."""
    rows = np.arange(20, dtype=np.float32)[:, None]
    with threadpool_limits(2):
        fit_calibrated(rows, np.tile([0, 1], 10), np.arange(20), [Threaded()])
    assert Threaded.seen == {1}
