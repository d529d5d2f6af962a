"""The log's segments are listed, and removed only once the lake has all of their events."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cartograph.cli.events import list_segments, prune
from cartograph.events import segments
from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings
from tests.unit.events.making import START, append, make_event
from tests.unit.ingestion.making import Rows, run


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    return load_settings()


def load(settings: Settings, *ids: str) -> None:
    moments = {"occurred_at": START + timedelta(days=1), "received_at": START + timedelta(days=1)}
    rows = [{"event_id": one, **moments, "event_type": "page_view", "visitor_id": "v"} for one in ids]
    run(Lake.from_settings(settings), Rows("events", rows))


def test_a_log_without_segments_is_empty(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    list_segments()
    prune(keep_days=30)
    assert capsys.readouterr().out.count("The log is empty.") == 2
    assert not settings.events_dir.exists()


def test_only_what_the_lake_has_whole_is_removed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    append(settings.events_dir, make_event("a"), make_event("b"))
    append(settings.events_dir, make_event("c"), make_event("waits"), at=START + timedelta(days=1))
    prune(keep_days=30)
    assert len(segments(settings.events_dir)) == 2, "there is no lake yet"
    load(settings, "a", "b", "c")
    list_segments()
    first, second = (path.name for path in segments(settings.events_dir))
    printed = capsys.readouterr().out
    assert [word for word in printed.split() if word.endswith(".log")] == [first, second]
    assert "not all" in printed
    prune(keep_days=36_500)
    assert len(segments(settings.events_dir)) == 2
    prune(keep_days=30)
    assert [path.name for path in segments(settings.events_dir)] == [second]
    assert "1 segment removed, 1 kept" in capsys.readouterr().out
