"""Golden requests: how far an answer is from what a release says that it must be.

The requests are asked by `api.rehearsal`; they are written by the asset graph, which knows nothing of the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from cartograph.releases import ReleaseError

SHOWN = 5
"""At most so many differences are named."""
_CURE = "Publish a new one with `cartograph run`; the one that was served stays."


class GoldenMismatch(ReleaseError):  # noqa: N818 - named like the other release errors
    """A release does not answer its golden requests as it says that it must."""

    def __init__(self, release: str, differences: Sequence[str]) -> None:
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        shown = "; ".join(differences[:SHOWN])
        super().__init__(f"Release {release} does not answer as its golden.json says: {shown}{more}. {_CURE}")


def differences(expected: object, found: object, tolerance: float, at: str = "") -> Iterator[str]:
    """Where `found` is not as `expected`, in words: objects may have more members, lists and types must be the same.

    A number may differ by `tolerance`, absolutely or of its size, whichever is more.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            yield f"{at or 'the answer'} is {_short(found)}, not an object"
            return
        for name, value in expected.items():
            place = f"{at}/{name}"
            if name in found:
                yield from differences(value, found[name], tolerance, place)
            else:
                yield f"{place} is missing"
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            yield f"{at} is {_short(found)}, not a list of {len(expected)}"
            return
        for number, (value, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(value, other, tolerance, f"{at}/{number}")
    elif not _same(expected, found, tolerance):
        yield f"{at} is {_short(found)}, not {_short(expected)}"


def _same(expected: object, found: object, tolerance: float) -> bool:
    is_number = [isinstance(one, int | float) and not isinstance(one, bool) for one in (expected, found)]
    if all(is_number):
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)  # type: ignore[arg-type]
    return type(expected) is type(found) and expected == found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
