"""What every content is made of and how it is read, and the shop that a release is about."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Form = TypeVar("Form", bound=BaseModel)


class ContentError(ValueError):
    """A file of a release does not have the form that this module gives it."""


class Content(BaseModel):
    """A part of a release: it cannot be changed, and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def read_form(folder: Path, file: str, form: type[Form]) -> Form:
    """What the `file` of the release in `folder` says: JSON of a form, such as a card or the parameters of a model.

    Raises:
        ContentError: it does not have the form.
    """
    try:
        return form.model_validate_json((folder / file).read_bytes())
    except ValidationError as error:
        raise ContentError(f"{file} cannot be used: {error}") from None


class ShopCard(Content):
    """`shop.json`: which shop the release is about."""

    name: str = Field(examples=["simulated"])
    title: str = Field(examples=["The simulated shop"])
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])
