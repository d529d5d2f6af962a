"""What of a JSON body is wrong before it is parsed: a parser would take too long, or take it for something else."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import numpy as np
import orjson

MOST_DEPTH = 64
"""No sensible request is nested more deeply."""

_SHOWN_CHARACTERS = 100
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_CONSTANT = re.compile(rb'"(?:[^"\\]|\\.)*"|(NaN|Infinity)', re.DOTALL)


def fault(body: bytes) -> str | None:
    """Why `body` is refused, None where it may be parsed: encoding, nesting, constants, names twice."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return "is not UTF-8"
        if body.startswith(codecs.BOM_UTF8):
            return "begins with a byte order mark, which JSON has not"
    if b"\0" in body:  # or it is UTF-16, which Python's parser would take
        return "has a NUL, which JSON has not"
    if depth_over(body, MOST_DEPTH):
        return f"is nested more than {MOST_DEPTH} deep"
    # To look for one letter is the fastest that there is, and most bodies have neither.
    has_word = (b"N" in body and b"NaN" in body) or (b"I" in body and b"Infinity" in body)
    if has_word and any(found[1] for found in _CONSTANT.finditer(body)):
        return "has NaN or Infinity, which JSON has not"
    name = repeated_name(body)
    return None if name is None else f"has {name[:_SHOWN_CHARACTERS]!a} twice in one object"


def depth_over(body: bytes, most: int) -> bool:
    """Whether arrays and objects lie in each other more than `most` deep. Brackets in strings do not count.

    A body with no more than `most` opening brackets is told by counting them; what is no JSON may be told either way.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    if b"\\" in body:
        body = _ESCAPED.sub(b"", body)
    brackets = np.frombuffer(_STRING.sub(b"", body.translate(None, _NOT_STRUCTURE)), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return bool(np.cumsum(steps).max(initial=0) > most)


def repeated_name(body: bytes) -> str | None:
    """A name that an object in `body` has twice, of which a parser would take the last; None for what is no JSON.

    Where all texts differ, or there are as many names as a parser finds, there is none; else it is looked for.
    """
    if b"\\" not in body:
        pieces = body.split(b'"')
        texts = pieces[1::2]
        if len(set(texts)) == len(texts):
            return None
        names = sum(after.lstrip()[:1] == b":" for after in pieces[2::2])
        try:
            if _names(orjson.loads(body)) == names:
                return None
        except orjson.JSONDecodeError:
            pass
    try:
        json.loads(body, object_pairs_hook=_once)
    except _RepeatedError as error:
        return str(error)
    except ValueError:  # the route's own parser says what is wrong
        pass
    return None


class _RepeatedError(Exception):
    """An object has the name twice."""


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        seen: set[str] = set()
        for name, _ in members:
            if name in seen:
                raise _RepeatedError(name)
            seen.add(name)
    return found


def _names(value: Any) -> int:
    """How many members the objects in `value` have in all."""
    if isinstance(value, dict):
        return len(value) + sum(_names(one) for one in value.values() if isinstance(one, dict | list))
    return sum(_names(one) for one in value if isinstance(one, dict | list)) if isinstance(value, list) else 0
