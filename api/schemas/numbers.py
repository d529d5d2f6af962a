"""Numbers of request bodies, as JSON means them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

MOST = 2**53 - 1
"""Beyond it a JSON number is not one integer to every reader (RFC 8259, section 6)."""


def whole(value: Any) -> Any:
    """`value` as an int where it is a float without a fraction: to JSON, 12.0 is the number 12."""
    if isinstance(value, float) and abs(value) <= MOST and value.is_integer():
        return int(value)
    return value


WholeNumber = Annotated[int, BeforeValidator(whole), Field(strict=True)]
"""A whole number, however it is written: no text, and neither true nor false."""
