"""Golden requests: what the service must answer before it serves a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from cartograph.releases.contents.base import Content

MOST_TOLERANCE = 1e-6
"""Of what is computed when it is asked for: float32 sums differ between processors by so much."""


class GoldenRequest(Content):
    """A request, and what the answer must be, found without the service's own code.

    Of objects in `answer` the members must be as here, and there may be more; lists are whole. Numbers are exact, or
    where a model is run, within `tolerance`: its sums of float32 depend on the processor. A larger one is refused.
    """

    name: str
    method: Literal["GET", "POST"] = "GET"
    path: str
    body: dict[str, Any] | None = None
    status: int = 200
    answer: dict[str, Any]
    tolerance: float = Field(0.0, ge=0, le=MOST_TOLERANCE)


class Golden(Content):
    """`golden.json`: what a release must answer. Each answer must name the release, too."""

    requests: tuple[GoldenRequest, ...]

    def renamed(self, names: Mapping[str, str]) -> Golden:
        """The same of customers who have other ids: the new by the old in `names`."""
        quoted = {quote(old, safe=""): quote(new, safe="") for old, new in names.items()}
        return Golden(
            requests=tuple(
                one.model_copy(
                    update={
                        "path": "/".join(quoted.get(part, part) for part in one.path.split("/")),
                        "body": _renamed(one.body, names),
                        "answer": _renamed(one.answer, names),
                    }
                )
                for one in self.requests
            )
        )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    if isinstance(value, dict):
        return {name: _renamed(one, names) for name, one in value.items()}
    return value
