"""What a training tells of a version beside its figures: purpose, data, checks, subgroups, pictures.

The registry keeps it with the version, so that a card can be made from the registry alone. The texts are in `about`,
what a training found in `findings` and `pictures`; the page is made in `cards`.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from ml_assets.core.evaluation.plots import Picture


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Frozen):
    """What a model is for, in words that hold for each of its versions.

    `target` is what it predicts, exactly; `population` about whom or what. `limits` are what it cannot do, `ethics`
    what its use may do to people and what is done about it: a sentence or two each.
    """

    title: str
    purpose: str
    target: str
    population: str
    limits: tuple[str, ...]
    ethics: tuple[str, ...]


class Group(_Frozen):
    """How good a version is for some of the rows that it was held against: figures by their names."""

    name: str
    rows: int
    figures: dict[str, float]


class CheckLine(_Frozen):
    """What an asset check found of the version; `blocks` says whether this keeps it from predicting, or would.

    A blocking check that failed as a warning has not.
    """

    name: str
    passed: bool
    blocks: bool
    expected: str
    found: str


class Caption(_Frozen):
    """A picture that is kept beside the report: its file and what it shows."""

    file: str
    text: str


class Report(_Frozen):
    """The report on a version. `data` says in words what it was trained on and held against."""

    about: About
    data: str
    parameters: dict[str, str]
    checks: tuple[CheckLine, ...]
    groups: tuple[Group, ...]
    pictures: tuple[Caption, ...]


class Findings(NamedTuple):
    """What a training found, as its asset hands it over: the report but for checks and parameters."""

    about: About
    data: str
    groups: tuple[Group, ...]
    pictures: tuple[Picture, ...]
