"""Causal estimates."""

from datetime import date

from pydantic import BaseModel, Field

from cartograph.releases.contents import Effect


class Effects(BaseModel):
    """Every question that was asked of the data, with its answer or the verdict that there is none."""

    release_id: str = Field(examples=["2026-01-01-0123456789ab"])
    as_of: date
    effects: list[Effect]
