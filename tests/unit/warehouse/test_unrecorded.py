"""What was written to the warehouse and recorded by no run is published by none, until it is made again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cartograph.settings import Settings, load_settings
from cartograph.windows import Window
from ecom_assets.warehouse.unrecorded import UnrecordedError, begin, end, note, require_recorded


def month(first: int, last: int | None = None) -> Window:
    return Window(datetime(2024, first, 1, tzinfo=UTC), datetime(2024, (last or first) + 1, 1, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


def is_held(settings: Settings) -> bool:
    try:
        require_recorded(settings)
    except UnrecordedError:
        return True
    return False


@pytest.mark.parametrize("window", [None, month(3)])
@pytest.mark.parametrize("is_all", [True, False])
def test_what_is_recorded_is_published(settings: Settings, window: Window | None, is_all: bool) -> None:
    earlier = begin(settings, "run 1", window)
    assert is_held(settings)
    end(settings, earlier, window, is_all=is_all)
    assert not is_held(settings)
    assert not note(settings).exists()


@pytest.mark.parametrize(
    ("killed", "next_one", "is_all", "held"),
    [
        (month(3), month(3), True, False),
        (month(3), month(2, 4), True, False),
        (month(3), None, True, False),
        (None, None, True, False),
        (month(3), month(3), False, True),
        (month(3), month(4), True, True),
        (month(3, 4), month(4), True, True),
        (None, month(3), True, True),
    ],
)
def test_what_a_killed_run_wrote_is_made_again_where_it_was_first(
    settings: Settings, killed: Window | None, next_one: Window | None, is_all: bool, held: bool
) -> None:
    begin(settings, "run 1", killed)
    end(settings, begin(settings, "run 2", next_one), next_one, is_all=is_all)
    assert is_held(settings) is held


def test_runs_that_are_killed_one_after_the_other_hold_all_that_they_wrote(settings: Settings) -> None:
    for window in (month(3), month(4)):
        begin(settings, "run", window)
    end(settings, begin(settings, "run 3", month(4)), month(4), is_all=True)
    assert is_held(settings)
    end(settings, begin(settings, "run 4", None), None, is_all=True)
    assert not is_held(settings)


def test_who_wrote_is_told_with_the_cure(settings: Settings) -> None:
    begin(settings, "`cartograph dbt`", None)
    with pytest.raises(UnrecordedError, match=r"written by `cartograph dbt`.*Make its tables anew: `cartograph run`\."):
        require_recorded(settings)


def test_a_note_that_cannot_be_read_holds(settings: Settings) -> None:
    begin(settings, "run 1", month(3))
    note(settings).write_bytes(b"{")
    assert is_held(settings)
    end(settings, begin(settings, "run 2", month(3)), month(3), is_all=True)
    assert is_held(settings), "nobody knows where it was written"
