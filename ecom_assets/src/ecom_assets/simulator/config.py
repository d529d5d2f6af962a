"""The size of the simulated shop, its dates, its seed and the rates of planted trouble.

What a user may set, and nothing else: what is planted (rates, effects, prices) stands as constants beside the code
that plants it, so that the truth of the shop is read where it is made.
"""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SimulatorConfig(BaseModel):
    """One simulated shop; equal configurations give equal rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customers: int = Field(5000, ge=20, le=5_000_000, description="Customers who register between start and end.")
    seed: int = Field(7, ge=0, description="Chooses one of the possible shops.")
    start: date = Field(description="The day on which the shop opens.")
    end: date = Field(description="The day after the last.")
    duplicate_rate: float = Field(0.005, ge=0, le=0.2, description="Share of rows that are delivered twice.")
    invalid_rate: float = Field(0.002, ge=0, le=0.2, description="Share of rows that break their contract.")
    late_rate: float = Field(0.05, ge=0, le=1, description="Share of events that arrive late, up to 48 hours.")
    schema_drift_after: float = Field(
        0.6, ge=0, le=1, description="Share of the dates after which payments gain a column; 1: never."
    )

    @model_validator(mode="after")
    def _dates_in_order(self) -> SimulatorConfig:
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must be after start {self.start}")
        return self

    @property
    def days(self) -> int:
        """The number of days in `[start, end)`."""
        return (self.end - self.start).days
