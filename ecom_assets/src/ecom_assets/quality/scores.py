"""The quality score of a dataset and partition: 0 to 100, of six parts, each the share of rows that are as they should.

The parts are the dimensions that DAMA UK ("The six primary dimensions for data quality assessment", 2013) names, with
reconciliation in the place of accuracy, which no platform can measure alone. They are counted from what the lake holds,
so a correction is in the next score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import duckdb
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.windows import Grain, Window
from ecom_assets.contracts.validation import DUPLICATE_KEY, EXACT_DUPLICATE, ORPHAN, UNLIKE_PARENT
from ecom_assets.quality.policy import ScorePolicy, Weights
from ecom_assets.sql import identifier, literal

TABLE = "quality.scores"
PARTS = tuple(Weights.model_fields)
VERSION = "updated_at"
"""The part of a key that tells the versions of an entity apart."""
_TRUNC: dict[Grain, str] = {"daily": "day", "weekly": "week", "monthly": "month"}

CONTRACT = Contract(
    dataset="scores",
    grain="The quality of a dataset's rows of a partition.",
    key=("dataset", "window_start"),
    event_time="window_start",
    columns=(
        Column(name="dataset", type="string", description="The dataset."),
        Column(name="window_start", type="timestamp", description="Start of the partition."),
        Column(name="delivered_rows", type="bigint", description="Rows that the source delivered."),
        Column(name="score", type="double", description="Weighted mean of the parts, 0 to 100."),
        Column(name="grade", type="string", accepted=("A", "B", "C", "D", "F"), description="The score as a grade."),
        *(
            Column(
                name=part,
                type="double",
                nullable=True,
                description=f"{Weights.model_fields[part].description} 0 to 100.",
            )
            for part in PARTS
        ),
    ),
)


class Score(NamedTuple):
    """The parts of a score, 0 to 100, by name; None for one that the dataset does not have."""

    dataset: str
    window_start: datetime
    delivered_rows: int
    parts: Mapping[str, float | None]

    def value(self, weights: Weights) -> float:
        """The weighted mean of the parts that there are; 100 where none counts."""
        weighed = [(getattr(weights, name), part) for name, part in self.parts.items() if part is not None]
        total = sum(weight for weight, _ in weighed)
        return sum(weight / total * part for weight, part in weighed) if total else 100.0


def dataset_scores(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    raw: str,
    quarantine: str,
    fact: tuple[str, str] | None,
    *,
    grain: Grain,
    window: Window,
    late_after: timedelta,
) -> list[Score]:
    """The scores of a dataset's partitions in `window`, oldest first; partitions without rows have none.

    `raw` and `quarantine` are SELECTs of the lake's tables, `fact` one of the published fact with its date column.
    """
    span = {"start": window.start, "end": window.end}
    moment = f"CAST({identifier(str(contract.event_time))} AS TIMESTAMPTZ)"
    entity = [identifier(name) for name in contract.key if name != VERSION]
    # A row for each key is what a load leaves; only where rows are versions have several the same entity.
    entities = f"count(DISTINCT ({', '.join(entity)}))" if VERSION in contract.key else "count(*)"
    late = f"{contract.received_time} - {contract.event_time} > $late" if contract.received_time else "false"
    facts = (
        f"SELECT {_partition(f'CAST({fact[1]} AS TIMESTAMPTZ)', grain)} AS part, count(*) AS facts "
        f"FROM ({fact[0]}) GROUP BY part"
        if fact
        else "SELECT CAST(NULL AS TIMESTAMPTZ) AS part, NULL AS facts WHERE false"
    )
    rows = connection.execute(
        f"""
        WITH good AS (
            SELECT {_partition(moment, grain)} AS part, count(*) AS accepted, {entities} AS entities,
                count(*) FILTER ({late}) AS late
            FROM ({raw}) WHERE {moment} >= $start AND {moment} < $end GROUP BY part
        ), bad AS (
            SELECT {_partition("window_start", grain)} AS part, count(*) AS rejected,
                count(*) FILTER (reason LIKE 'missing_value:%') AS incomplete,
                count(*) FILTER (reason IN ({literal(EXACT_DUPLICATE)}, {literal(DUPLICATE_KEY)})) AS repeated,
                count(*) FILTER (
                    starts_with(reason, {literal(ORPHAN)}) OR starts_with(reason, {literal(UNLIKE_PARENT)})
                ) AS orphaned
            FROM ({quarantine}) WHERE window_start >= $start AND window_start < $end GROUP BY part
        ), facts AS ({facts})
        SELECT part, coalesce(accepted, 0), coalesce(entities, 0), coalesce(late, 0), coalesce(rejected, 0),
            coalesce(incomplete, 0), coalesce(repeated, 0), coalesce(orphaned, 0), coalesce(facts, 0)
        FROM good FULL JOIN bad USING (part) LEFT JOIN facts USING (part)
        ORDER BY part
        """,
        span | ({"late": late_after} if contract.received_time else {}),
    ).fetchall()
    return [
        _score(contract, row[0], *row[1:], has_fact=fact is not None)  # the parameters are in the order of the columns
        for row in rows
    ]


def _score(
    contract: Contract,
    part: datetime,
    accepted: int,
    entities: int,
    late: int,
    rejected: int,
    incomplete: int,
    repeated: int,
    orphaned: int,
    facts: int,
    *,
    has_fact: bool,
) -> Score:
    delivered = accepted + rejected
    invalid = rejected - incomplete - repeated - orphaned
    return Score(
        contract.dataset,
        part,
        delivered,
        {
            "completeness": _share_without(incomplete, delivered),
            "uniqueness": _share_without(repeated, delivered),
            "validity": _share_without(invalid, delivered),
            "consistency": _share_without(orphaned, delivered) if contract.references else None,
            "timeliness": _share_without(late, accepted) if contract.received_time and accepted else None,
            "reconciliation": _share_without(abs(facts - entities), max(entities, facts)) if has_fact else None,
        },
    )


def _share_without(rows: int, of: int) -> float:
    return 100 * (1 - rows / of) if of else 100.0


def _partition(moment: str, grain: Grain) -> str:
    return f"date_trunc('{_TRUNC[grain]}', {moment})"


def scores_table(scores: Sequence[Score], policy: ScorePolicy) -> pa.Table:
    """The scores with the schema of `CONTRACT`."""
    rows = [
        {
            "dataset": score.dataset,
            "window_start": score.window_start,
            "delivered_rows": score.delivered_rows,
            "score": score.value(policy.weights),
            "grade": policy.grades.of(score.value(policy.weights)),
            **score.parts,
        }
        for score in scores
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACT.arrow_schema())
