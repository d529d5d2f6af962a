"""Experiments and their decisions."""

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.shared import AsOf, ReleaseId
from cartograph.releases.contents.experiments import ExperimentResult


class ExperimentSummary(BaseModel):
    """What was decided, in one line."""

    name: str = Field(examples=["checkout_redesign"])
    description: str = Field(examples=["A checkout on one page, to have fewer carts abandoned."])
    state: Literal["planned", "running", "complete"]
    verdict: Literal["ship", "hold", "stop", "invalid"]
    choice: str | None = Field(description="The variant to ship.", examples=["treatment"])
    reasons: list[str] = Field(examples=[["orders rose by 17.7 % (10.0 % to 25.5 %)"]])


class Experiments(BaseModel):
    """All experiments of the release."""

    release_id: ReleaseId
    as_of: AsOf
    experiments: list[ExperimentSummary]


class Experiment(BaseModel):
    """One experiment with its estimates and its memo; one that is not valid has no estimate."""

    release_id: ReleaseId
    experiment: ExperimentResult
