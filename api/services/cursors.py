"""Cursors of lists: where the next page begins, by the last key of the page before.

A key and no number of rows, so that a page after a swap of releases goes on where the one before it ended.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import orjson


class BadCursor(ValueError):  # noqa: N818 - it is the cursor that is bad
    """The text is no cursor of this list."""


def cursor(of: str, *key: str) -> str:
    """The cursor that begins after `key` in the list `of`: its name, and what was asked of it."""
    return urlsafe_b64encode(orjson.dumps((of, *key))).decode().rstrip("=")


def key_of(given: str, of: str, parts: int) -> Sequence[str]:
    """The key of `parts` texts that the cursor `given` begins after; empty texts, before all keys, where it is empty.

    Raises:
        BadCursor: it is none of this list.
    """
    if not given:
        return [""] * parts
    try:
        key = orjson.loads(urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    except (ValueError, UnicodeError):
        raise BadCursor(_CURE) from None
    if not isinstance(key, list) or len(key) != parts + 1 or not all(isinstance(part, str) for part in key):
        raise BadCursor(_CURE)
    if key[0] != of:
        raise BadCursor(_CURE)
    return key[1:]


_CURE = "it is no cursor of this list: take `next` of the page before, or none for the first page"
