"""What of a JSON body is wrong before it is parsed: a parser would take too long for it, or take it for a number."""

from __future__ import annotations

import re

import numpy as np

MOST_DEPTH = 64
"""No sensible request is nested more deeply."""

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_CONSTANT = re.compile(rb'"(?:[^"\\]|\\.)*"|(NaN|Infinity)', re.DOTALL)


def fault(body: bytes) -> str | None:
    """Why `body` is refused, None where it may be parsed: encoding, nesting, or numbers that JSON does not have."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return "is not UTF-8"
    if b"\0" in body:  # or it is UTF-16, which Python's parser would take
        return "has a NUL, which JSON has not"
    if depth_over(body, MOST_DEPTH):
        return f"is nested more than {MOST_DEPTH} deep"
    # To look for one letter is the fastest that there is, and most bodies have neither.
    has_word = (b"N" in body and b"NaN" in body) or (b"I" in body and b"Infinity" in body)
    if has_word and any(found[1] for found in _CONSTANT.finditer(body)):
        return "has NaN or Infinity, which JSON has not"
    return None


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
