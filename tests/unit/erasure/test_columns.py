"""Column lineage is followed downstream over any number of assets."""

from __future__ import annotations

from cartograph.trust.columns import made_of

LINEAGE = {
    "staging/people": {"email": [("raw/people", "email")], "town": [("raw/people", "town")]},
    "marts/people": {"address": [("staging/people", "email"), ("staging/people", "town")]},
    "published/people": {"address": [("marts/people", "address")]},
    "published/towns": {"town": [("staging/people", "town")]},
}


def test_all_that_is_made_of_a_column_is_found_and_nothing_else() -> None:
    assert made_of(LINEAGE, [("raw/people", "email")]) == {
        ("raw/people", "email"),
        ("staging/people", "email"),
        ("marts/people", "address"),
        ("published/people", "address"),
    }


def test_a_column_that_nothing_is_made_of_is_alone_and_a_circle_ends() -> None:
    assert made_of({}, [("raw/people", "email")]) == {("raw/people", "email")}
    circle = {"a": {"x": [("b", "x")]}, "b": {"x": [("a", "x")]}}
    assert made_of(circle, [("a", "x")]) == {("a", "x"), ("b", "x")}
