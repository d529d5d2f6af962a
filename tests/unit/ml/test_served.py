"""What the API answered beside what the graph scored: planted shifts are found, and chance is not one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from ml_assets.core.monitoring.served import BATCHES, DAYS, FEWEST, compare, judge
from ml_assets.defs.monitoring import served_predictions

NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)
CHURN = BATCHES["churn_classifier"]
Scores = npt.NDArray[np.float64]


def make_log(scores: Scores, *, model: str = "churn_classifier", version: str = "3", age_days: int = 0) -> pa.Table:
    rows = len(scores)
    return pa.table(
        {
            "prediction_id": [f"{model}-{version}-{age_days}-{at}" for at in range(rows)],
            "predicted_at": pa.array(
                [NOON - timedelta(days=age_days, seconds=at) for at in range(rows)], pa.timestamp("us", tz="UTC")
            ),
            "model": [model] * rows,
            "model_version": [version] * rows,
            "release_id": ["r"] * rows,
            "score": scores,
        }
    )


def make_batch(scores: Scores, *, version: str = "3", day: date = date(2026, 6, 1)) -> pa.Table:
    rows = len(scores)
    return pa.table({CHURN.score: scores, CHURN.version: [version] * rows, CHURN.date: [day] * rows})


def compared(log: pa.Table, batch: pa.Table | None) -> pa.Table:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("log", log)
        batches = {}
        if batch is not None:
            con.register("batch", batch)
            batches["churn_classifier"] = "SELECT * FROM batch"
        return compare(con, "SELECT * FROM log", batches)


def drawn(seed: int, rows: int, a: float = 2.0, b: float = 5.0) -> Scores:
    return np.random.default_rng(seed).beta(a, b, rows)


@pytest.mark.parametrize("seed", range(20))
def test_answers_like_the_batch_pass_with_the_fewest_scores_too(seed: int) -> None:
    (found,) = judge(compared(make_log(drawn(seed, FEWEST)), make_batch(drawn(seed + 100, FEWEST))))
    assert found.is_alike, found


@pytest.mark.parametrize(("a", "b"), [(4.0, 3.0), (2.0, 12.0), (0.4, 0.6)])
def test_answers_to_others_than_were_scored_are_found(a: float, b: float) -> None:
    (found,) = judge(compared(make_log(drawn(1, 2000, a, b)), make_batch(drawn(2, 5000))))
    assert not found.is_alike
    result = served_predictions.judge([found])
    assert not result.passed
    assert result.severity.value == "WARN"
    assert result.metadata["samples"].value == ["churn_classifier 3"]


def test_a_mean_that_is_off_is_found_where_the_shape_hides_it() -> None:
    narrow = np.linspace(0.0, 1.0, 2000)
    (found,) = judge(compared(make_log(np.clip(narrow + 0.12, 0, 1)), make_batch(narrow)))
    assert found.mean_difference > 0.10
    assert not found.is_alike


def test_too_few_of_either_side_are_shown_and_not_judged() -> None:
    for log, batch in (
        (make_log(drawn(1, FEWEST - 1, 9, 1)), make_batch(drawn(2, 5000))),
        (make_log(drawn(1, 5000, 9, 1)), make_batch(drawn(2, FEWEST - 1))),
        (make_log(drawn(1, 5000, 9, 1)), make_batch(drawn(2, 5000), version="2")),
        (make_log(drawn(1, 5000, 9, 1)), None),
    ):
        table = compared(log, batch)
        assert len(table) == 1
        assert judge(table) == []
    result = served_predictions.judge([])
    assert result.passed
    assert "cannot judge yet" in str(result.description)


def test_only_the_latest_days_of_both_sides_are_compared() -> None:
    log = pa.concat_tables([make_log(drawn(1, 1000)), make_log(drawn(2, 3000, 9, 1), age_days=DAYS + 1)])
    batch = pa.concat_tables([make_batch(drawn(3, 1000)), make_batch(drawn(4, 3000, 9, 1), day=date(2026, 5, 1))])
    (row,) = compared(log, batch).to_pylist()
    assert (row["served"], row["scored"]) == (1000, 1000)
    assert row["served_until"] == NOON
    assert row["stability_index"] < 0.25


def test_each_version_and_model_has_a_row_and_the_shops_own_only_what_was_served() -> None:
    log = pa.concat_tables(
        [
            make_log(drawn(1, 600)),
            make_log(drawn(2, 600), version="4"),
            make_log(drawn(3, 600), model="refund_soon", version="1"),
        ]
    )
    rows = compared(log, make_batch(drawn(4, 600))).to_pylist()
    assert [(row["model"], row["model_version"], row["scored"]) for row in rows] == [
        ("churn_classifier", "3", 600),
        ("churn_classifier", "4", 0),
        ("refund_soon", "1", 0),
    ]
    assert rows[2]["stability_index"] is None
    assert rows[2]["served_mean"] == pytest.approx(2 / 7, abs=0.03)


def test_nothing_served_gives_an_empty_table() -> None:
    assert len(compared(make_log(np.empty(0)).slice(0, 0), make_batch(drawn(1, 10)))) == 0
