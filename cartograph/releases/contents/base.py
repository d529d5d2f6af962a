"""What every content is made of, and the shop that a release is about."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ContentError(ValueError):
    """A file of a release does not have the form that this module gives it."""


class Content(BaseModel):
    """A part of a release: it cannot be changed, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ShopCard(Content):
    """`shop.json`: which shop the release is about."""

    name: str = Field(examples=["simulated"])
    title: str = Field(examples=["The simulated shop"])
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])
