"""The file of earlier orders: it comes back as it was written, is refused when it is damaged, and can be renamed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.tables import write_customers
from cartograph.releases.order_history import (
    NEVER,
    NO_KEY,
    SCHEMA,
    contains,
    key_of,
    key_sql,
    open_history,
    pair,
    pairs,
    place_of,
    write_history,
)
from cartograph.releases.renaming import rename_customers
from tests.api.making import make_customers

OWN, SHARED, TEA = key_of("card", "own"), key_of("device", "shared"), key_of("category", "tea")
ANNA, BEN = key_of("customer", "anna"), key_of("customer", "ben")


def columns(**changes: Any) -> dict[str, Any]:
    """Anna, with a card of her own and a device that Ben shows too, and Ben."""
    people, tokens = sorted([ANNA, BEN]), sorted([OWN, SHARED])
    made: dict[str, Any] = {
        "customer_key": people,
        **{f"customer_{name}": [1, 2] for name in ("registered_us", "address", "city", "country", "orders")},
        **{f"customer_{name}": [3, 4] for name in ("first_us", "last_us", "spent_cents")},
        "customer_group": [0, 0],
        "pair_key": sorted([pair(OWN, ANNA), pair(SHARED, ANNA), pair(SHARED, BEN), pair(TEA, ANNA)]),
        "token_key": tokens,
        "token_customers": [1 if token == OWN else 2 for token in tokens],
        "token_group": [0, 0],
        "group_customers": [2],
        "group_chargebacks": [1],
        "recent_key": sorted([ANNA, OWN]),
        "recent_us": [5, 6],
        "declined_key": [ANNA],
        "declined_us": [7],
        "day_number": [19_000],
        "day_cents": [100],
        "day_orders": [1],
        "product_key": [key_of("product", "P1")],
        "product_category": [TEA],
        "visit_key": sorted([ANNA, BEN]),
        "visit_event": [key_of("event", "E2"), key_of("event", "E1")],
        "visit_us": [8, 9],
        **changes,
    }
    kinds = {field.name: field.type.value_type.to_pandas_dtype() for field in SCHEMA}
    return {name: np.array(values, kinds.get(name)) for name, values in made.items()}


def test_what_is_written_is_read_without_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "order_history.arrow"
    write_history(path, 42, columns())
    moment, found = open_history(path)
    assert moment == 42
    for name, values in columns().items():
        assert found[name].tolist() == values.tolist(), name
        assert not found[name].flags.owndata


@given(st.text(max_size=20).filter(lambda name: "\0" not in name))
def test_a_key_is_the_same_in_sql(name: str) -> None:
    key = key_sql("'card'", "$name")
    ((found,),) = duckdb.execute(f"SELECT {key}", {"name": name}).fetchall()
    assert found == key_of("card", name) > NO_KEY


@given(st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=20), st.integers(1, 2**64 - 1))
def test_exactly_the_keys_in_a_list_are_found(given_keys: list[int], other: int) -> None:
    keys = np.array(sorted(given_keys), np.uint64)
    assert [place_of(keys, int(key)) for key in keys] == list(range(len(keys)))
    assert contains(keys, other) == (other in given_keys)
    assert pairs(keys, np.uint64(other)).tolist() == [pair(int(key), other) for key in keys]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"customer_key": [5, 5]}, "sorted by customer_key, each once"),
        ({"pair_key": [7, 6]}, "sorted by pair_key"),
        ({"visit_key": [7, 6]}, "sorted by visit_key"),
        ({"day_cents": []}, "columns of its days must be of one length"),
        ({"token_group": [0, 1]}, "token_group names a group that is not there"),
        ({"another": []}, "must have the columns customer_key"),
    ],
)
def test_what_is_not_as_agreed_is_not_written(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ContentError, match=said):
        write_history(tmp_path / "order_history.arrow", 1, columns(**changes))


def test_a_shop_without_events_has_a_file_without_visits(tmp_path: Path) -> None:
    """As releases had that were made before there were any."""
    path = tmp_path / "order_history.arrow"
    without = {name: values for name, values in columns().items() if not name.startswith("visit")}
    write_customers(tmp_path / "customers.arrow", make_customers(["anna", "ben"]))
    write_history(path, 42, without)
    assert open_history(path)[1].keys() == without.keys()
    assert rename_customers(tmp_path, {"anna": "erased-1"})
    assert open_history(path)[1].keys() == without.keys()


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "order_history.arrow"
    write_customers(path, make_customers(["C1"]))
    with pytest.raises(ContentError, match="must be a row of the columns"):
        open_history(path)


def test_a_renamed_customer_is_a_stranger_under_the_old_name(tmp_path: Path) -> None:
    write_customers(tmp_path / "customers.arrow", make_customers(["anna", "ben"]))
    path = tmp_path / "order_history.arrow"
    write_history(path, 42, columns())
    assert rename_customers(tmp_path, {"anna": "erased-1"})
    _, found = open_history(path)
    new = key_of("customer", "erased-1")
    assert not any(ANNA in found[name].tolist() for name in SCHEMA.names)
    at = place_of(found["customer_key"], new)
    assert at is not None
    assert [found[f"customer_{name}"][at] for name in ("registered_us", "address", "city")] == [NEVER, NO_KEY, NO_KEY]
    assert sorted(found["customer_spent_cents"].tolist()) == [3, 4], "totals stay"
    assert sorted(found["pair_key"].tolist()) == sorted([pair(SHARED, new), pair(SHARED, BEN), pair(TEA, new)])
    assert found["token_key"].tolist() == [SHARED], "what nobody else showed is gone"
    assert (found["recent_key"].tolist(), found["declined_key"].tolist()) == ([new], [new])
    assert found["visit_key"].tolist() == sorted([new, BEN])
    assert not rename_customers(tmp_path, {"nobody": "erased-2"})
