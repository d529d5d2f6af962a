"""The parts of what fails, as sets: assets, or partitions by the time that they span."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

Span = tuple[str, str]
"""ISO timestamps in UTC, which are ordered as text: from the first to before the second."""


class Part(BaseModel):
    """An asset or a partition by `name`, or the partitions of an asset in a `span`; without one, all that there is."""

    model_config = ConfigDict(frozen=True)

    name: str
    span: Span | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_name(cls, value: Any) -> Any:
        """Ledgers hold parts that are names only, from before there were spans."""
        return {"name": value} if isinstance(value, str) else value


def without(parts: Iterable[Part], others: Sequence[Part]) -> tuple[Part, ...]:
    """What of `parts` is not among `others`: of a span what theirs leave of it, together.

    Where one side does not say which partitions it is of, they are the other's.
    """
    return tuple(left for part in parts for left in _left(part, [other for other in others if other.name == part.name]))


def merged(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The same as few parts, by name and time: spans that meet are one."""
    found: list[Part] = []
    for part in sorted(parts, key=lambda part: (part.name, part.span or ("", ""))):
        last = found[-1] if found else None
        if last is None or last.name != part.name:
            found.append(part)
        elif last.span is not None and part.span is not None:
            if part.span[0] <= last.span[1]:
                found[-1] = Part(name=part.name, span=(last.span[0], max(last.span[1], part.span[1])))
            else:
                found.append(part)
    return tuple(found)


def _left(part: Part, same: Sequence[Part]) -> Iterator[Part]:
    spans = [other.span for other in same if other.span is not None]
    if not same:
        yield part
    elif part.span is not None and len(spans) == len(same):
        reached, end = part.span
        for first, last in sorted(spans):
            if reached < min(first, end):
                yield Part(name=part.name, span=(reached, min(first, end)))
            reached = max(reached, last)
        if reached < end:
            yield Part(name=part.name, span=(reached, end))
