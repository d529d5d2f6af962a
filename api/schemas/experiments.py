"""Experiments and their decisions."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from cartograph.releases.contents import ExperimentResult


class ExperimentSummary(BaseModel):
    """What was decided, in one line."""

    name: str = Field(examples=["checkout_redesign"])
    description: str
    state: Literal["planned", "running", "complete"]
    verdict: Literal["ship", "hold", "stop", "invalid"]
    choice: str | None = Field(description="The variant to ship.")
    reasons: list[str]


class Experiments(BaseModel):
    """All experiments of the release."""

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    experiments: list[ExperimentSummary]


class Experiment(BaseModel):
    """One experiment with its estimates and its memo; one that is not valid has no estimate."""

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    experiment: ExperimentResult
