"""Which predictions are logged, that nothing of whom they are about is, and what happens where they cannot be."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from api.observability.metrics import LOGGED
from api.services import prediction_log
from api.services.prediction_log import PredictionLog
from cartograph.prediction_log import Entry, parse, segments, whole_lines
from cartograph.settings import Settings
from tests.api.making import publish, service

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
FEATURES = {"recency_days": 300, "mean_gap_days": 30.5, "is_opted_in": True}


def make_log(folder: Path, share: float = 1.0, *, segment_bytes: int = 2**20, segments_kept: int = 64) -> PredictionLog:
    seconds = count()
    return PredictionLog(
        folder,
        share,
        clock=lambda: NOON + timedelta(seconds=next(seconds)),
        draw=random.Random(7),
        segment_bytes=segment_bytes,
        segments_kept=segments_kept,
    )


def entries(folder: Path) -> list[Entry]:
    found = [parse(text) for path in segments(folder) for text in whole_lines(path)]
    assert None not in found
    return [one for one in found if one is not None]


def logged(outcome: str) -> float:
    return next(
        (
            sample.value
            for family in LOGGED.collect()
            for sample in family.samples
            if sample.name.endswith("_total") and sample.labels["outcome"] == outcome
        ),
        0.0,
    )


def test_what_the_service_predicts_is_logged_without_the_features(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prediction_log_share=1)
    manifest = publish(settings)
    with service(settings) as client:
        churn = client.post("/v1/predict/churn", json={"features": FEATURES}).raise_for_status().json()
        order = {"total_amount": 40, **{name: FEATURES[name] for name in ("mean_gap_days", "is_opted_in")}}
        risk = client.post("/v1/predict/order_fraud", json={"features": order}).raise_for_status().json()
        client.post("/v1/predict/churn", json={"features": {}})
    first, second = entries(settings.prediction_log_dir)
    assert (first.model, first.model_version, first.release_id) == ("churn_classifier", "3", manifest.release_id)
    assert (first.score, second.score) == (churn["probability"], risk["probability"])
    assert second.model == "order_fraud"
    assert first.prediction_id != second.prediction_id
    (path,) = segments(settings.prediction_log_dir)
    assert "recency" not in path.read_text(), "an entry says nothing of whom it is about"
    assert settings.prediction_log_dir.stat().st_mode & 0o077 == 0


def test_a_share_of_zero_logs_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prediction_log_share=0)
    publish(settings)
    with service(settings) as client:
        client.post("/v1/predict/churn", json={"features": FEATURES}).raise_for_status()
    assert not settings.prediction_log_dir.exists()


def test_a_share_of_the_scores_is_kept_whatever_they_are(tmp_path: Path) -> None:
    log = make_log(tmp_path, share=0.2)
    scores = [at / 10_000 for at in range(10_000)]
    log.record("churn_classifier", "3", "r", scores)
    log.close()
    kept = [one.score for one in entries(tmp_path)]
    assert 1_800 < len(kept) < 2_200
    assert sum(kept) / len(kept) == pytest.approx(0.5, abs=0.02)
    assert len({one.prediction_id for one in entries(tmp_path)}) == len(kept)


def test_scores_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.record("churn_classifier", "3", "r", [0.5, float("nan"), float("inf")])
    log.close()
    assert [one.score for one in entries(tmp_path)] == [0.5]


def test_a_full_file_is_followed_by_another_and_the_oldest_goes_where_nobody_loads_them(tmp_path: Path) -> None:
    log = make_log(tmp_path, segment_bytes=1, segments_kept=3)
    lost = logged("lost")
    for at in range(5):
        log.record("churn_classifier", "3", "r", [at / 10])
        log.flush()
    log.close()
    assert [one.score for one in entries(tmp_path)] == [0.2, 0.3, 0.4]
    assert logged("lost") - lost == 2


def test_a_log_that_cannot_be_written_loses_entries_and_tells_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log").write_bytes(b"a file is in the way")
    log = make_log(tmp_path / "log")
    lost = logged("lost")
    for _ in range(3):
        log.record("churn_classifier", "3", "r", [0.5, 0.6])
        log.flush()
    log.close()
    assert logged("lost") - lost == 6
    assert [record.message for record in caplog.records].count("Predictions cannot be logged: File exists") == 1


def test_memory_is_bounded_where_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "WAITING", 5)
    log = make_log(tmp_path)
    lost = logged("lost")
    for _ in range(4):
        log.record("churn_classifier", "3", "r", [0.1, 0.2, 0.3])
    assert logged("lost") - lost == 7
    log.close()
    assert len(entries(tmp_path)) == 5
