"""A follower tells each event that any process appended, wherever it is in the log, and reads no more than that."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.events import Event, Follower, SegmentWriter, following, recover, remove, rewrite, segments
from cartograph.events.framing import framed
from cartograph.events.writing import SEGMENT_BYTES

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
ALL = 1_000_000


def event(number: int) -> Event:
    return {"event_id": f"e{number}", "occurred_at": (AT + timedelta(seconds=number)).isoformat()}


def told(follower: Follower) -> list[str]:
    return [one["event_id"] for one in follower.new()]


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    one = Follower(tmp_path / "events", first_bytes=ALL)
    yield one
    one.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SegmentWriter]:
    one = SegmentWriter(tmp_path / "events")
    yield one
    one.close()


def test_what_any_process_appends_is_told_once_by_when_it_happened(
    tmp_path: Path, follower: Follower, writer: SegmentWriter
) -> None:
    assert told(follower) == [], "there is no log yet"
    other = SegmentWriter(tmp_path / "events", segment_bytes=1)
    writer.append([event(3), event(1)], AT)
    other.append([event(2)], AT)
    assert told(follower) == ["e1", "e2", "e3"]
    other.append([event(4)], AT)  # in a segment of its own
    writer.append([event(5)], AT + timedelta(days=1))
    writer.append([event(6)], AT + timedelta(days=1))
    assert told(follower) == ["e4", "e5", "e6"]
    assert told(follower) == []


@given(st.lists(st.integers(1, 100)), st.integers(0, 5))
def test_however_a_segment_grows_each_line_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], before: int
) -> None:
    folder = tmp_path_factory.mktemp("events")
    path, content = folder / "2024-05-01-x.log", b"".join(framed(event(number)) for number in range(10, 30))
    path.write_bytes(b"".join(framed(event(number)) for number in range(before)))
    follower = Follower(folder, first_bytes=ALL)
    found = told(follower)
    with path.open("ab", buffering=0) as file:
        for step in [*steps, len(content)]:
            file.write(content[:step])
            content = content[step:]
            found += told(follower)
    follower.close()
    assert found == [f"e{number}" for number in (*range(before), *range(10, 30))]


@given(st.integers(1, 2_000), st.lists(st.integers(1, 1_000)))
def test_a_write_that_crosses_the_bound_of_a_segment_is_told_to_its_end(
    tmp_path_factory: pytest.TempPathFactory, left: int, steps: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("events")
    path, content = folder / "2024-05-01-x.log", b"".join(framed(event(number)) for number in range(10, 30))
    with path.open("wb", buffering=0) as file:
        file.truncate(SEGMENT_BYTES - left)  # full but for so many bytes, of which the disk has none
        follower = Follower(folder, first_bytes=0)
        found = told(follower)
        file.seek(0, os.SEEK_END)
        for step in [*steps, len(content)]:
            file.write(content[:step])
            content = content[step:]
            found += told(follower)
    follower.close()
    path.unlink()
    assert found == [f"e{number}" for number in range(10, 30)]


@pytest.mark.parametrize("lines", range(8))
def test_at_first_the_latest_are_told_and_no_more_than_may_be(tmp_path: Path, lines: int) -> None:
    for number in range(6):  # each in a segment of its own, the last two of one day
        SegmentWriter(tmp_path).append([event(number)], AT + timedelta(days=min(number, 4)))
    for place, path in enumerate(segments(tmp_path)):
        os.utime(path, ns=(0, 9 - place))  # rewritten by an erasure
    by_age = ["e5", "e4"] if "e4" in segments(tmp_path)[-2].read_text() else ["e4", "e5"]
    os.utime(segments(tmp_path)[-1], ns=(0, 10))
    follower = Follower(tmp_path, first_bytes=lines * len(framed(event(0))) + 5)
    assert told(follower) == sorted([*by_age, "e3", "e2", "e1", "e0"][:lines])
    follower.close()


def test_of_what_was_not_read_at_first_only_what_is_appended_is_told(tmp_path: Path, writer: SegmentWriter) -> None:
    writer.append([event(1), event(2)], AT)
    follower = Follower(tmp_path / "events", first_bytes=0)
    assert told(follower) == []
    writer.append([event(3)], AT)
    assert told(follower) == ["e3"]
    follower.close()


def test_a_torn_or_damaged_line_is_not_told_and_holds_nothing_up(
    tmp_path: Path, follower: Follower, writer: SegmentWriter
) -> None:
    writer.append([event(1), event(2)], AT)
    (path,) = segments(tmp_path / "events")
    path.write_bytes(path.read_bytes().replace(b'"e1"', b'"e9"') + framed(event(3))[:-9])
    assert told(follower) == ["e2"]
    assert told(follower) == []
    recover(tmp_path / "events")
    assert told(follower) == []
    SegmentWriter(tmp_path / "events").append([event(4)], AT)
    assert told(follower) == ["e4"]


def test_what_is_removed_or_rewritten_is_told_to_its_end_and_not_again(
    tmp_path: Path, follower: Follower, writer: SegmentWriter
) -> None:
    folder = tmp_path / "events"
    writer.append([event(1)], AT)
    assert told(follower) == ["e1"]
    writer.append([event(2)], AT)

    def blank(found: Sequence[Event]) -> list[Event]:
        return [{**one, "customer_id": "nobody"} for one in found]

    assert len(rewrite(folder, blank)) == 1
    writer.append([event(3)], AT)
    assert told(follower) == ["e2", "e3"]
    writer.append([event(4)], AT)
    assert len(remove(folder, lambda *_: True)) == 2
    assert told(follower) == ["e4"]
    writer.append([event(5)], AT)
    assert told(follower) == ["e5"]


def test_a_segment_that_is_gone_or_cannot_be_read_is_passed_over(
    tmp_path: Path,
    follower: Follower,
    writer: SegmentWriter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "events"
    assert told(follower) == []
    for number, code in enumerate([errno.ENOENT, errno.EACCES]):
        writer.append([event(number)], AT + timedelta(days=number))
        whole = os.open
        with monkeypatch.context() as patch:

            def failing(path: Path, *more: int, code: int = code, whole: object = whole) -> int:
                if Path(path).suffix == ".log":
                    raise OSError(code, os.strerror(code))
                return whole(path, *more)  # type: ignore[operator,no-any-return]

            patch.setattr(os, "open", failing)
            assert told(follower) == []
    assert "Permission denied" in caplog.text
    writer.append([event(2)], AT + timedelta(days=2))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lambda *_: os.open(folder / "none", os.O_RDONLY))
        assert told(follower) == []
    assert "no longer followed" in caplog.text
    writer.append([event(3)], AT + timedelta(days=3))
    assert told(follower) == ["e3"]


def test_when_no_more_files_can_be_open_it_goes_on_later(
    follower: Follower, writer: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append([event(1)], AT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files")))
        with pytest.raises(OSError, match="Too many open files"):
            follower.new()
    assert told(follower) == ["e1"]


def test_the_files_that_are_open_are_bounded(
    tmp_path: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_OPEN", 2)
    writers = [SegmentWriter(tmp_path / "events") for _ in range(4)]
    assert told(follower) == []
    for number, writer in enumerate(writers):
        writer.append([event(number)], AT)
        assert told(follower) == [f"e{number}"]
    for number, writer in enumerate(writers, 4):
        writer.append([event(number)], AT)
    assert told(follower) == ["e6", "e7"], "those that grew last"
