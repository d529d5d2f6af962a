"""The removal effect: chains worked out by hand, and what must hold for any paths."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecom_assets.attribution.markov import (
    CONTRACT,
    attribute,
    conversion_rate,
    count_transitions,
    removal_effects,
    shares,
    split,
)

Paths = Sequence[Sequence[str]]
CHANNELS = "abcd"
paths = st.lists(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=5), max_size=12)


def touches(key: str, given_paths: Paths, revenue: str) -> pa.Table:
    rows = [
        {key: f"p{number}", "touch_number": place, "channel": channel, "revenue_amount": Decimal(revenue)}
        for number, path in enumerate(given_paths)
        for place, channel in enumerate(path, start=1)
    ]
    fields = {
        key: pa.string(),
        "touch_number": pa.int64(),
        "channel": pa.string(),
        "revenue_amount": pa.decimal128(18, 2),
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(list(fields.items())))


def connect(won: Paths, lost: Paths, revenue: str = "10.00") -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.register("won", touches("order_id", won, revenue))
    connection.register("lost", touches("path_key", lost, "0.00"))
    return connection


def attributed(won: Paths, lost: Paths, revenue: str = "10.00") -> dict[str, dict[str, object]]:
    table = attribute(connect(won, lost, revenue), "FROM won", "FROM lost")
    assert table.schema == CONTRACT.arrow_schema()
    return {row["channel"]: row for row in table.to_pylist()}


def effects(won: Paths, lost: Paths) -> dict[str, float]:
    transitions = count_transitions(connect(won, lost), "FROM won", "FROM lost")
    return dict(zip(transitions.channels, removal_effects(transitions).tolist(), strict=True))


def test_a_chain_worked_out_by_hand() -> None:
    """a → b → order; a → nothing; b → nothing.

    From a: half to b, half to nothing. From b: half to the order. So 2/3 · 1/2 · 1/2 + 1/3 · 1/2 = 1/3 of journeys
    convert; without a 1/3 · 1/2 = 1/6, half as many; without b none.
    """
    transitions = count_transitions(connect([["a", "b"]], [["a"], ["b"]]), "FROM won", "FROM lost")
    assert transitions.channels == ("a", "b")
    assert transitions.moves.tolist() == [[0, 1], [0, 0], [2, 1]]
    assert transitions.converted.tolist() == [0, 1, 0]
    assert transitions.lost.tolist() == [1, 1, 0]
    assert conversion_rate(transitions) == pytest.approx(1 / 3)
    found = attributed([["a", "b"]], [["a"], ["b"]])
    assert found["a"]["removal_effect"] == pytest.approx(1 / 2)
    assert found["b"]["removal_effect"] == pytest.approx(1)
    assert found["a"]["credit_share"] == pytest.approx(1 / 3)
    assert [found[c]["revenue_amount"] for c in "ab"] == [Decimal("3.33"), Decimal("6.67")]
    assert [found[c]["orders_credited"] for c in "ab"] == [Decimal("0.3333"), Decimal("0.6667")]


def test_a_chain_with_a_way_back_worked_out_by_hand() -> None:
    """a → b → a → order; b → nothing.

    From a: half to b, half to the order. From b: half to a, half to nothing. With x from a and y from b:
    x = 1/2 + y/2, y = x/2, so x = 2/3, y = 1/3, and from the start 1/2 · 2/3 + 1/2 · 1/3 = 1/2. Without b only
    a's half of the starts is left, of which half converts: 1/4, so the effect is 1/2. Without a nothing converts.
    """
    assert effects([["a", "b", "a"]], [["b"]]) == pytest.approx({"a": 1.0, "b": 0.5})


def test_a_channel_repeated_in_a_row_counts_once_for_the_effect() -> None:
    assert effects([["a", "a", "a", "b"]], [["b"]]) == pytest.approx(effects([["a", "b"]], [["b"]]))


def test_channels_that_only_lost_paths_have_get_nothing() -> None:
    found = attributed([["a"]], [["c", "c"]])
    assert found["c"]["removal_effect"] == 0
    assert found["c"]["revenue_amount"] == Decimal("0.00")
    assert found["a"]["credit_share"] == 1


def test_without_orders_nothing_is_credited_and_without_paths_there_is_no_channel() -> None:
    found = attributed([], [["a"], ["b", "a"]])
    assert [(row["removal_effect"], row["credit_share"], row["revenue_amount"]) for row in found.values()] == [
        (0, 0, 0),
        (0, 0, 0),
    ]
    assert attributed([], []) == {}


@settings(max_examples=60)
@given(won=paths, lost=paths)
def test_shares_sum_to_one_and_credits_to_all_orders_and_revenue(won: Paths, lost: Paths) -> None:
    found = attributed(won, lost, "33.33").values()
    assert all(0 <= row["removal_effect"] <= 1 for row in found)  # type: ignore[operator]
    assert sum(row["credit_share"] for row in found) == pytest.approx(1 if won else 0)  # type: ignore[misc]
    assert sum((row["orders_credited"] for row in found), Decimal(0)) == len(won)  # type: ignore[misc]
    assert sum((row["revenue_amount"] for row in found), Decimal(0)) == len(won) * Decimal("33.33")  # type: ignore[misc]
    assert all(row["revenue_amount"] >= 0 for row in found)  # type: ignore[operator]


@settings(max_examples=60)
@given(won=paths.filter(bool), lost=paths)
def test_the_solved_rate_is_what_walking_the_chain_comes_to(won: Paths, lost: Paths) -> None:
    """The chance to have converted after many steps, and the counted rate: first-order paths keep the overall rate."""
    transitions = count_transitions(connect(won, lost), "FROM won", "FROM lost")
    size = len(transitions.channels)
    total = transitions.moves.sum(axis=1) + transitions.converted + transitions.lost
    here, done = transitions.moves[size] / total[size], 0.0
    for _ in range(3000):
        done += float(here @ (transitions.converted[:size] / total[:size]))
        here = here @ (transitions.moves[:size] / total[:size, None])
    assert conversion_rate(transitions) == pytest.approx(done, abs=1e-6)
    assert conversion_rate(transitions) == pytest.approx(len(won) / (len(won) + len(lost)))


@settings(max_examples=40)
@given(won=paths, lost=paths, copies=st.integers(2, 4))
def test_more_of_the_same_paths_change_no_effect_and_names_do_not_matter(won: Paths, lost: Paths, copies: int) -> None:
    once = effects(won, lost)
    assert effects([*won] * copies, [*lost] * copies) == pytest.approx(once)
    names = dict(zip(CHANNELS, reversed(CHANNELS), strict=True))
    renamed = effects([[names[c] for c in path] for path in won], [[names[c] for c in path] for path in lost])
    assert renamed == pytest.approx({names[channel]: effect for channel, effect in once.items()})


@given(
    total=st.decimals(min_value=0, max_value=10**9, places=2),
    weights=st.lists(st.floats(0.001, 1), min_size=1, max_size=12),
)
def test_a_split_adds_up_to_the_cent_and_no_part_is_off_by_more_than_one(total: Decimal, weights: list[float]) -> None:
    parts = shares(np.array(weights))
    found = split(total, parts.tolist(), 2)
    assert sum(found) == total
    assert all(abs(part - total * Decimal(share)) <= Decimal("0.011") for part, share in zip(found, parts, strict=True))
