"""What is found out about a body before it is parsed is what parsing it would have told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.json_bodies import MOST_DEPTH, depth_over, fault

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=40,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        within = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, within), default=0)
    return 0


@given(VALUES, st.booleans())
def test_the_depth_is_that_of_the_parsed_value(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    deep = depth_of(value)
    assert not depth_over(body, deep)
    assert deep == 0 or depth_over(body, deep - 1)
    assert fault(body) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[" * 60_000, "nested"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested"),
        (b'{"cost": 1, "cost": 2}', "'cost' twice"),
        (b'{"a": [{"b": 1, "c": 2}, {"b": 1, "c": {}, "b" : 1}]}', "'b' twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' twice"),
        (b'{"": ":", ":": ":", ":": 1}', "':' twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"NaN": [1, -Infinity]}', "NaN"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "NUL"),
    ],
)
def test_a_faulty_body_is_named(body: bytes, told: str) -> None:
    found = fault(body)
    assert found is not None
    assert told in found


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MOST_DEPTH + b"]" * MOST_DEPTH,
        b"[" + b",".join([b"[]"] * 500) + b"]",
        json.dumps({"a": "[" * 500 + '"' + "{" * 500}).encode(),
        b'{"a": "NaN", "Infinity": 1, "b": "\\"NaN"}',
        b"",
        b'[{"a": "a", "b": "a"}, {"a": {"a": {"b": "a"}}}]',
        b'{"a": "\\"a\\": 1, \\"a\\": 2", "b": ":", "c": ":"}',
        b'{"a": 1, "a"',
        b'{"a": 123456789012345678901234567890, "b": "a"}',
    ],
)
def test_a_sound_body_passes(body: bytes) -> None:
    assert fault(body) is None
