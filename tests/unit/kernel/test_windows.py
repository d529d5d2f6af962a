"""Windows tile time without gap or overlap, whatever the grain."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.windows import Grain, Window, advance, floor, windows

GRAINS: st.SearchStrategy[Grain] = st.sampled_from(["daily", "weekly", "monthly"])
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, GRAINS)
def test_a_moment_lies_in_the_window_that_its_floor_starts(moment: datetime, grain: Grain) -> None:
    start = floor(moment, grain)
    assert moment in Window(start, advance(start, grain))
    assert floor(start, grain) == start


@given(MOMENTS, st.integers(1, 500), GRAINS)
def test_windows_tile_the_interval(start: datetime, days: int, grain: Grain) -> None:
    end = start + timedelta(days=days)
    tiles = list(windows(start, end, grain))
    assert tiles[0].start <= start
    assert tiles[-1].end >= end
    assert all(left.end == right.start for left, right in pairwise(tiles))


@pytest.mark.parametrize(
    ("grain", "expected"),
    [
        ("daily", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("weekly", ["2024-02-26"]),
        ("monthly", ["2024-02-01", "2024-03-01"]),
    ],
)
def test_keys_are_the_starts(grain: Grain, expected: list[str]) -> None:
    found = windows(datetime(2024, 2, 28, 13, tzinfo=UTC), datetime(2024, 3, 1, 1, tzinfo=UTC), grain)
    assert [window.key for window in found] == expected


def test_a_december_is_followed_by_a_january() -> None:
    assert advance(datetime(2024, 12, 1, tzinfo=UTC), "monthly") == datetime(2025, 1, 1, tzinfo=UTC)


def test_a_window_needs_order_and_time_zones() -> None:
    with pytest.raises(ValueError, match="aware"):
        Window(datetime(2024, 1, 1), datetime(2024, 2, 1))
    with pytest.raises(ValueError, match="end after"):
        Window(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
