"""A score is the share of rows that are as they should be, part by part, and moves with what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality.policy import Grades, PolicyError, ScorePolicy, Weights, score_policy
from ecom_assets.quality.scores import PARTS, Score, dataset_scores, scores_table

YEAR = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
EVENTS = """
    SELECT n::VARCHAR AS event_id, TIMESTAMPTZ '2024-03-05 12:00:00+00' AS occurred_at,
        TIMESTAMPTZ '2024-03-05 12:00:00+00' + INTERVAL 1 HOUR * if(n < 9, 30, 1) AS received_at
    FROM range(90) AS numbers (n)"""
REJECTED = """
    SELECT TIMESTAMPTZ '2024-03-05 00:00:00+00' AS window_start, reason FROM (VALUES
        ('missing_value:visitor_id'), ('missing_value:event_type'), ('exact_duplicate'), ('duplicate_key'),
        ('not_accepted:event_type'), ('received_after_occurred'), ('wrong_type:occurred_at'),
        ('outside_shop_dates'), ('orphan:customer_id'), ('orphan:customer_id')) AS reasons (reason)"""
FACTS = "SELECT DATE '2024-03-05' AS event_date FROM range(81)"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def scores(connection: duckdb.DuckDBPyConnection, **replaced: str) -> list[Score]:
    given = {"raw": EVENTS, "quarantine": REJECTED, "fact": FACTS, "dataset": "events"} | replaced
    return dataset_scores(
        connection,
        CONTRACTS[given["dataset"]],
        given["raw"],
        given["quarantine"],
        (given["fact"], "event_date") if given["fact"] else None,
        grain="monthly",
        window=YEAR,
        late_after=timedelta(hours=24),
    )


def test_each_fault_counts_in_its_own_part(connection: duckdb.DuckDBPyConnection) -> None:
    (found,) = scores(connection)
    assert found.window_start == datetime(2024, 3, 1, tzinfo=UTC)
    assert found.delivered_rows == 100
    assert found.parts == {
        "completeness": 98.0,
        "uniqueness": 98.0,
        "validity": 96.0,
        "consistency": None,  # the contract of events refers to nothing
        "timeliness": 90.0,
        "reconciliation": 90.0,
    }
    assert found.value(Weights()) == pytest.approx((98 + 98 + 96 + 90 + 90) / 5)


def test_orphans_count_where_the_contract_has_parents(connection: duckdb.DuckDBPyConnection) -> None:
    lines = """
        SELECT n::VARCHAR AS order_id, 1 AS line_number, TIMESTAMPTZ '2024-03-05 12:00:00+00' AS ordered_at
        FROM range(90) AS numbers (n)"""
    (found,) = scores(connection, dataset="order_items", raw=lines, fact="")
    assert (found.parts["consistency"], found.parts["validity"]) == (98.0, 96.0)
    assert found.parts["timeliness"] is None
    assert found.parts["reconciliation"] is None


def test_a_partition_of_which_nothing_was_accepted_is_scored_too(connection: duckdb.DuckDBPyConnection) -> None:
    (found,) = scores(connection, raw=f"{EVENTS} WHERE false")
    assert found.delivered_rows == 10
    assert found.parts["reconciliation"] == 0.0, "the facts hold rows that no source delivered"


def test_partitions_without_rows_have_no_score(connection: duckdb.DuckDBPyConnection) -> None:
    assert scores(connection, raw=f"{EVENTS} WHERE false", quarantine=f"{REJECTED} WHERE false") == []


@given(
    st.fixed_dictionaries({part: st.none() | st.floats(0, 100) for part in PARTS}),
    st.fixed_dictionaries({part: st.floats(0, 10) for part in PARTS}),
)
def test_a_score_lies_between_its_parts(parts: dict[str, float | None], weights: dict[str, float]) -> None:
    value = Score("orders", YEAR.start, 1, parts).value(Weights(**weights))
    there = [part for name, part in parts.items() if part is not None and weights[name]] or [100.0]
    assert min(there) - 1e-6 <= value <= max(there) + 1e-6


@pytest.mark.parametrize(
    ("score", "letter"), [(100, "A"), (99, "A"), (98.99, "B"), (95, "B"), (90, "C"), (80, "D"), (79.9, "F"), (0, "F")]
)
def test_grades(score: float, letter: str) -> None:
    assert Grades().of(score) == letter


def test_a_weight_of_zero_leaves_a_part_out() -> None:
    parts = dict.fromkeys(PARTS, 100.0) | {"timeliness": 0.0}
    assert Score("events", YEAR.start, 1, parts).value(Weights(timeliness=0)) == 100


def test_the_table_has_the_score_its_grade_and_its_parts() -> None:
    parts = dict.fromkeys(PARTS, 100.0) | {"consistency": None, "validity": 50.0}
    (row,) = scores_table([Score("events", YEAR.start, 7, parts)], ScorePolicy()).to_pylist()
    assert (row["score"], row["grade"], row["consistency"], row["delivered_rows"]) == (90.0, "C", None, 7)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"at_least": 101}, "at_least"),
        ({"weights": {"beauty": 1}}, "weights.beauty"),
        ({"weights": dict.fromkeys(PARTS, 0)}, "above zero"),
    ],
)
def test_a_mistake_in_the_policy_is_named(said: dict[str, object], told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        score_policy({"scores_are_high": said})
