"""Parts are sets of assets and of their days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.alerts.parts import Part, merged, without

DAY = date(2024, 1, 1)


def part(name: str, first: int | None = None, end: int | None = None) -> Part:
    """An asset, or its days of 2024 from the one with the number `first` to before `end`."""
    if first is None or end is None:
        return Part(name=name)
    return Part(name=name, span=((DAY + timedelta(first)).isoformat(), (DAY + timedelta(end)).isoformat()))


@pytest.mark.parametrize(
    ("failed", "made", "left"),
    [
        ([part("a"), part("b")], [part("b")], [part("a")]),
        ([part("a", 1, 3)], [part("b", 1, 3)], [part("a", 1, 3)]),
        ([part("a", 1, 3)], [part("a", 3, 5)], [part("a", 1, 3)]),
        ([part("a", 1, 6)], [part("a", 2, 3), part("a", 4, 9)], [part("a", 1, 2), part("a", 3, 4)]),
        ([part("a", 1, 6)], [part("a", 3, 6), part("a", 0, 3)], []),
        ([part("a", 1, 6)], [part("a")], []),
        ([part("a")], [part("a", 1, 2)], []),
    ],
)
def test_what_is_left_of_parts(failed: list[Part], made: list[Part], left: list[Part]) -> None:
    assert without(failed, made) == tuple(left)


def test_a_span_that_meets_all_is_all() -> None:
    assert merged([part("a", 1, 2), part("a"), part("b")]) == (part("a"), part("b"))


def days(parts: tuple[Part, ...]) -> set[tuple[str, str]]:
    """Each day of each part."""
    every = [(DAY + timedelta(number)).isoformat() for number in range(12)]
    return {(p.name, day) for p in parts for day in every if p.span is not None and p.span[0] <= day < p.span[1]}


spans = st.builds(part, st.sampled_from("ab"), st.integers(0, 5), st.integers(6, 11))
short = st.builds(
    lambda name, at, long: part(name, at, at + long), st.sampled_from("ab"), st.integers(0, 8), st.just(2)
)
several = st.lists(spans | short, max_size=6).map(tuple)


@given(several, several)
def test_spans_are_sets_of_days(parts: tuple[Part, ...], others: tuple[Part, ...]) -> None:
    assert days(without(parts, others)) == days(parts) - days(others)
    assert days(merged(parts)) == days(parts)
    assert merged((*parts, *others)) == merged((*others, *merged(parts))), "in whatever order they come"
