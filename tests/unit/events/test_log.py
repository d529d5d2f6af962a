"""What `append` returned from is read again, whatever is torn, damaged, replaced or in the way of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.events import (
    Event,
    LogUnavailableError,
    SegmentWriter,
    read,
    recover,
    remove,
    removed,
    rewrite,
    segments,
)
from cartograph.events.framing import framed, unframed

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


def event(number: int) -> Event:
    return {"event_id": f"e{number}", "visitor_id": "v1"}


def events(folder: Path) -> list[Event]:
    return [one for path in segments(folder) for one in read(path).events]


@given(st.dictionaries(TEXTS, TEXTS))
def test_an_event_is_one_line_and_comes_back(one: dict[str, str]) -> None:
    line = framed(one)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert unframed(line[:-1]) == one


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    line = bytearray(framed(event(1))[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    assert unframed(bytes(line)) is None


def test_the_size_is_that_of_all_writers_segments(tmp_path: Path) -> None:
    one, other = SegmentWriter(tmp_path / "events"), SegmentWriter(tmp_path / "events")
    assert one.size() == 0
    one.append([event(1)], AT)
    other.append([event(2), event(3)], AT)
    assert one.size() == other.size() == sum(len(framed(event(number))) for number in (1, 2, 3))


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "events")
    writer.append([event(1), event(2)], AT)
    writer.append([event(3)], AT)
    writer.close()
    assert events(tmp_path / "events") == [event(1), event(2), event(3)]
    assert len(segments(tmp_path / "events")) == 1
    assert (segments(tmp_path / "events")[0].stat().st_mode & 0o777) == 0o600


def test_each_process_day_and_full_segment_begins_another(tmp_path: Path) -> None:
    one, other = SegmentWriter(tmp_path, segment_bytes=100), SegmentWriter(tmp_path)
    other.append([event(0)], AT)
    for number in range(1, 5):
        one.append([event(number)], AT)
    one.append([event(5)], AT + timedelta(days=1))
    assert len(segments(tmp_path)) == 4
    assert segments(tmp_path)[-1].name.startswith("2024-05-02-")
    assert sorted(one["event_id"] for one in events(tmp_path)) == [f"e{number}" for number in range(6)]


@pytest.mark.parametrize("kept", range(len(framed(event(2)))))
def test_a_torn_tail_is_not_read_and_is_cut_off(tmp_path: Path, kept: int) -> None:
    SegmentWriter(tmp_path).append([event(1)], AT)
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + framed(event(2))[:kept])
    assert read(path).events == [event(1)]
    assert recover(tmp_path) == ({path.name: kept} if kept else {})
    assert path.read_bytes() == whole


def test_a_segment_without_a_whole_line_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "2024-05-01-x.log").write_bytes(b"x" * 200_000)
    assert recover(tmp_path) == {"2024-05-01-x.log": 200_000}
    assert events(tmp_path) == []


def test_a_damaged_line_costs_no_more_than_itself(tmp_path: Path) -> None:
    SegmentWriter(tmp_path).append([event(1), event(2), event(3)], AT)
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"e2"', b'"e9"'))
    found = read(path)
    assert (found.events, found.damaged) == ([event(1), event(3)], 1)
    assert recover(tmp_path) == {}


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_on_a_full_disk_nothing_is_taken_and_afterwards_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([event(1)], AT)
    whole = os.write

    def full(*arguments: object) -> int:
        if call == "write":  # a part fits
            whole(arguments[0], bytes(arguments[1])[:5])  # type: ignore[call-overload]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(LogUnavailableError, match=r"No space left.*Make room"):
            writer.append([event(2)], AT)
    assert events(tmp_path) == [event(1)]
    writer.append([event(2)], AT)
    assert sorted(one["event_id"] for one in events(tmp_path)) == ["e1", "e2"]
    assert recover(tmp_path) == {}


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LogUnavailableError, match="cannot be written"):
        SegmentWriter(tmp_path / "file" / "events").append([event(1)], AT)


def test_a_rewritten_segment_is_left_to_what_it_is(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([event(1), event(2)], AT)

    def blank(found: Sequence[Event]) -> list[Event]:
        return [{**one, "visitor_id": "nobody"} if one["event_id"] == "e2" else one for one in found]

    (name,) = rewrite(tmp_path, blank)
    assert rewrite(tmp_path, blank) == []
    writer.append([event(3)], AT)
    assert read(tmp_path / name).events == [event(1), {"event_id": "e2", "visitor_id": "nobody"}]
    assert len(events(tmp_path)) == 3, "the writer began another segment"
    assert not list(tmp_path.glob(".*"))


def test_only_segments_that_are_done_are_removed(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    writer.append([event(1)], AT)
    writer.append([event(2)], AT + timedelta(days=1))
    first, second = (path.name for path in segments(tmp_path))
    assert remove(tmp_path, lambda name, found: name == first and len(found) == 1) == [first]
    assert removed(tmp_path) == [first]
    assert events(tmp_path) == [event(2)]
    writer.append([event(3)], AT + timedelta(days=1))
    assert sorted(one["event_id"] for one in events(tmp_path)) == ["e2", "e3"]
    assert remove(tmp_path, lambda name, _: name == second) == [second]
    assert removed(tmp_path) == [first, second]
