"""Numbers of requests, as JSON means them: of bodies, and of queries, where they are texts."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

_WRITTEN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
MOST = 2**53 - 1
"""Beyond it a JSON number is not one integer to every reader (RFC 8259, section 6)."""


def whole(value: Any) -> Any:
    """`value` as an int where it is a float without a fraction: to JSON, 12.0 is the number 12."""
    if isinstance(value, float) and abs(value) <= MOST and value.is_integer():
        return int(value)
    return value


WholeNumber = Annotated[int, BeforeValidator(whole), Field(strict=True)]
"""A whole number, however it is written: no text, and neither true nor false."""


def written(value: Any) -> Any:
    """`value`, where a text is a number as JSON writes it: Python takes 1_0 for 10."""
    if isinstance(value, str) and _WRITTEN.fullmatch(value) is None:
        raise ValueError("it is a number in plain digits, such as 10")
    return value


WRITTEN = BeforeValidator(written)
"""Of a parameter that is a number."""


def number(value: Any) -> Any:
    """`value`, where JSON has it as a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is a number, and not in a text")
    return value


_IS_NUMBER = (Strict(False), BeforeValidator(number), WithJsonSchema({"type": "number", "minimum": 0}))
MOST_AMOUNT = Decimal("9999999999.99")
"""The most of 12 digits. A few of it together are still whole hundredths within 64 bits, as stores have them."""
Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2), *_IS_NUMBER]
"""An amount of money, in hundredths at most. What is exact is the number as it is written."""
Price = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=4), *_IS_NUMBER]
"""The price of one piece, in ten-thousandths at most."""
