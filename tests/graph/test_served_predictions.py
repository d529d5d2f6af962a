"""The log of the API's predictions through the graph: raw/prediction_log in one location, its use in the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from cartograph.lake import Lake
from cartograph.prediction_log import Entry, Segment, line, segments
from cartograph.settings import get_settings
from ecom_assets.defs.ingestion.prediction_log import prediction_log
from ml_assets.core.models.churn_scores import CONTRACT as CHURN_SCORES
from tests.graph.ml_location import forget_location, load_location

NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)
ROWS = 800
SERVED = dg.AssetKey(["monitoring", "served_predictions"])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.Definitions]:
    yield load_location(monkeypatch, tmp_path)
    monkeypatch.undo()
    forget_location()


def log(scores: np.ndarray) -> None:
    segment = Segment.open(get_settings().prediction_log_dir, NOON)
    for at, score in enumerate(scores):
        entry = Entry(
            prediction_id=f"{'0' * 32}-{at}",
            predicted_at=NOON - timedelta(seconds=at),
            model="churn_classifier",
            model_version="3",
            release_id="r",
            score=float(score),
        )
        segment.write(line(entry))
    segment.close()


def load_logged() -> dg.ExecuteInProcessResult:
    """Run the asset of the other location, which this one knows by its key alone."""
    return dg.materialize([prediction_log])


def score_batch(scores: np.ndarray) -> None:
    lake, day = Lake.from_settings(get_settings()), date(2026, 6, 1)
    values = {"as_of_date": day, "churn_model_version": "3"}
    rows = []
    for at, score in enumerate(scores):
        given = {**values, "customer_id": f"C{at}", "churn_probability": float(score)}
        rows.append([given.get(column.name) for column in CHURN_SCORES.columns])
    lake.ensure("predictions.churn_scores", CHURN_SCORES, "monthly")
    with lake.overwriting("predictions.churn_scores", None) as writer:
        writer.write(CHURN_SCORES.arrow_table(rows))


def compare(definitions: dg.Definitions) -> dg.AssetCheckEvaluation:
    job = definitions.resolve_job_def("ml_job")
    result = job.execute_in_process(asset_selection=[SERVED])
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    return check


def test_before_anything_was_served_there_is_nothing_to_judge(models: dg.Definitions) -> None:
    check = compare(models)
    assert check.passed
    assert "cannot judge yet" in str(check.description)
    assert load_logged().success
    assert compare(models).passed


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (0.4, False)])
def test_what_was_logged_is_loaded_once_and_held_against_the_batch(
    models: dg.Definitions, shift: float, passes: bool
) -> None:
    draw = np.random.default_rng(3)
    score_batch(draw.beta(2, 6, ROWS))
    log(np.clip(draw.beta(2, 6, ROWS) + shift, 0, 1))
    loaded = load_logged()
    assert loaded.success
    assert [check.passed for check in loaded.get_asset_check_evaluations()] == [True, True]
    assert segments(get_settings().prediction_log_dir) == []
    assert load_logged().success
    lake = Lake.from_settings(get_settings())
    assert sum(batch.num_rows for batch in lake.batches("raw.prediction_log")) == ROWS
    check = compare(models)
    assert check.passed is passes
    assert check.severity == dg.AssetCheckSeverity.WARN
    (row,) = lake.batches("monitoring.served_predictions").read_all().to_pylist()
    assert (row["served"], row["scored"]) == (ROWS, ROWS)
