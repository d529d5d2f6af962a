"""The panel of a shop's experiment: who was assigned when, what they did after it, and what they had done before.

Rows and columns only, read from published marts and bounded by the dates of the experiment. What follows from them is
`integrity` and `analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from ml_assets.core.experiments.decision import State
from ml_assets.core.experiments.form import ASSIGNMENTS, Experiment, MetricForm
from ml_assets.core.experiments.integrity import Assigned, Overlap, overlap
from ml_assets.core.experiments.outcomes import OUTCOMES
from ml_assets.core.experiments.plan import Codes, Labels, Measured, Units, Vector

Marts = Mapping[str, str]


class Span(NamedTuple):
    """The days of an experiment in the data: `[starts, ends)`, of which data are there before `data_end`.

    A customer's outcomes count from the assignment to `until` at the latest.
    """

    starts: date
    ends: date
    data_end: date
    until: date
    state: State


class Assignments(NamedTuple):
    """The assignments of an experiment: its days, counts of what is wrong, and the units of each variant and day.

    `counts` are the customers of each planned variant, the control first; `days` has the cumulative share of each day.
    """

    span: Span
    assigned: Assigned
    counts: dict[str, int]
    days: tuple[date, ...]
    shares: dict[str, Vector]


@dataclass(frozen=True)
class Panel:
    """The customers of an experiment whose outcomes are known, and their outcomes by day.

    `amounts` has for each outcome the customers (places in `units`), days since the start, and amounts. `entered` is
    the day since the start on which each unit was assigned.
    """

    experiment: Experiment
    units: Units
    span: Span
    entered: Codes
    amounts: Mapping[str, tuple[Codes, Codes, Vector]]
    before: Mapping[str, Vector]
    overlaps: tuple[Overlap, ...]

    def at(self, day: int, metric: MetricForm) -> tuple[Measured, Codes]:
        """A metric of the units that were in by the end of `day` since the start, as it stood then; and their variants.

        With a window of days a unit counts once its window is over.
        """
        window = self.experiment.window_days
        inside = self.entered + (window or 0) <= day
        values = [_summed(self.amounts[name], len(self.entered), day) for name in metric.outcomes]
        whole = _measured(metric, values, self.units.measured[metric.name].covariates)
        return whole.of(inside), self.units.variant[inside]

    def information(self, day: int) -> float:
        """The share of the planned days of units (or with a window, of units) that had been seen by `day`."""
        if self.experiment.window_days:
            return float((self.entered + self.experiment.window_days <= day).mean())
        last = (self.span.until - self.span.starts).days
        seen = np.clip(day + 1 - self.entered, 0, None).sum()
        return float(seen / max(1, np.clip(last - self.entered, 1, None).sum()))


def assignments(con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment) -> Assignments | None:
    """The assignments of `experiment`; None where the marts have none."""
    named = {"experiment": experiment.assigned_as}
    found = con.execute(
        f"""SELECT min(assignment_date), max(assignment_date) FROM ({marts[ASSIGNMENTS]})
        WHERE experiment_id = $experiment""",
        named,
    ).fetchone()
    if found is None or found[0] is None:
        return None
    span = _span(con, marts, experiment, *found)
    rows = con.execute(
        f"""SELECT variant, assignment_date AS day, count(DISTINCT customer_id) AS customers
        FROM ({marts[ASSIGNMENTS]}) WHERE experiment_id = $experiment GROUP BY ALL ORDER BY ALL""",
        named,
    ).fetchall()
    of_days = {"starts": span.starts, "ends": span.ends}
    units, twice, early, late = con.execute(
        f"""SELECT count(*), count(*) FILTER (variants > 1), count(*) FILTER (day < $starts),
            count(*) FILTER (last_day >= $ends)
        FROM (
            SELECT customer_id, count(DISTINCT variant) AS variants, min(assignment_date) AS day,
                max(assignment_date) AS last_day
            FROM ({marts[ASSIGNMENTS]}) WHERE experiment_id = $experiment GROUP BY ALL
        )""",
        named | of_days,
    ).fetchone() or (0, 0, 0, 0)
    unknown: dict[str, int] = {}
    for variant, _, customers in rows:
        if variant not in experiment.variants:
            unknown[variant] = unknown.get(variant, 0) + customers
    counts = {name: sum(n for variant, _, n in rows if variant == name) for name in experiment.shares}
    return Assignments(
        span,
        Assigned(units, twice, unknown, early, late, _exposed(con, marts, experiment, span)),
        counts,
        *_by_day(rows, tuple(counts)),
    )


def _exposed(con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, span: Span) -> int | None:
    """How many customers met the change within the experiment's days, before they were assigned."""
    if experiment.exposure is None:
        return None
    (found,) = con.execute(
        f"""
        SELECT count(DISTINCT customer_id)
        FROM ({marts["fct_events"]}) e JOIN (
            SELECT customer_id, min(assigned_at) AS assigned_at FROM ({marts[ASSIGNMENTS]})
            WHERE experiment_id = $experiment GROUP BY ALL
        ) a USING (customer_id)
        WHERE e.event_type = $event AND e.event_date >= $starts AND e.event_date < $ends
            AND e.occurred_at < a.assigned_at""",
        {
            "experiment": experiment.assigned_as,
            "event": experiment.exposure.event_type,
            "starts": span.starts,
            "ends": span.ends,
        },
    ).fetchone() or (0,)
    return int(found)


def _span(con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, first: date, last: date) -> Span:
    (latest,) = con.execute(f"SELECT max(order_date) FROM ({marts['fct_orders']})").fetchone() or (None,)
    data_end = max(latest or last, last) + timedelta(days=1)
    starts, ends = experiment.starts or first, experiment.ends or last + timedelta(days=1)
    until = ends + timedelta(days=experiment.window_days or 0)
    is_known = experiment.ends is not None or ends < data_end  # without a last day, it runs while somebody comes
    state: State = "complete" if until <= data_end and is_known else "running"
    return Span(starts, ends, data_end, until, state if starts < data_end else "planned")


def _by_day(rows: list[Any], variants: tuple[str, ...]) -> tuple[tuple[date, ...], dict[str, Vector]]:
    days = sorted({day for _, day, _ in rows})
    counts = np.zeros((len(days), len(variants)))
    for variant, day, customers in rows:
        if variant in variants:
            counts[days.index(day), variants.index(variant)] += customers
    total = counts.cumsum(axis=0)
    with np.errstate(invalid="ignore"):
        shares = total / total.sum(axis=1, keepdims=True)
    return tuple(days), {name: shares[:, at] for at, name in enumerate(variants)}


def panel(con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, span: Span) -> Panel:
    """The customers of `experiment` who were assigned within its days to one planned variant, with their outcomes.

    With a window of days, only those whose window is over; otherwise outcomes count to the end of the experiment, or of
    the data where that comes first.
    """
    names = tuple(experiment.shares)
    con.register("planned", pa.table({"variant": list(names), "place": np.arange(len(names))}))
    closing = f"a.assigned_at + INTERVAL ({experiment.window_days}) DAY" if experiment.window_days else "$until"
    limits = {"starts": span.starts, "ends": span.ends, "until": min(span.until, span.data_end)}
    try:
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE assigned AS
            SELECT row_number() OVER (ORDER BY customer_id) - 1 AS unit, a.*, p.place,
                date_diff('day', CAST($starts AS DATE), CAST(a.assigned_at AS DATE)) AS entered,
                least(CAST({closing} AS TIMESTAMPTZ), CAST($until AS TIMESTAMPTZ)) AS closes
            FROM (
                SELECT customer_id, any_value(variant) AS variant, min(assigned_at) AS assigned_at
                FROM ({marts[ASSIGNMENTS]}) WHERE experiment_id = $experiment
                GROUP BY customer_id HAVING count(DISTINCT variant) = 1
            ) a JOIN planned p USING (variant)
            WHERE CAST(a.assigned_at AS DATE) >= $starts AND CAST(a.assigned_at AS DATE) < $ends
                AND CAST({closing} AS TIMESTAMPTZ) <= CAST($until AS TIMESTAMPTZ)""",
            limits | {"experiment": experiment.assigned_as},
        )
    finally:
        con.unregister("planned")
    rows = con.execute("SELECT place, entered FROM assigned ORDER BY unit").to_arrow_table()
    variant = rows["place"].to_numpy().astype(np.int64)
    size = len(variant)
    amounts = {name: _amounts(con, marts, name) for name in experiment.outcomes}
    before = {name: _before(con, marts, name, experiment.covariate_days, size) for name in experiment.outcomes}
    measured = {}
    for metric in experiment.metrics:
        past = [before[name] for name in metric.outcomes if experiment.covariate_days]
        if metric.kind == "conversion":
            past = [*past, *(np.sign(one) for one in past)]
        values = [_summed(amounts[name], size, None) for name in metric.outcomes]
        measured[metric.name] = _measured(metric, values, np.column_stack(past) if past else None)
    units = Units(names, variant, measured, _segments(con, marts, experiment, before))
    primary = next(metric for metric in experiment.metrics if metric.role == "primary")
    return Panel(
        experiment,
        units,
        span,
        rows["entered"].to_numpy().astype(np.int64),
        amounts,
        before,
        _overlaps(con, marts, experiment, variant, measured[primary.name].value),
    )


def _source(marts: Marts, name: str) -> str:
    outcome = OUTCOMES[name]
    return outcome.select.format(source=f"FROM ({marts[outcome.mart]})")


def _amounts(con: duckdb.DuckDBPyConnection, marts: Marts, name: str) -> tuple[Codes, Codes, Vector]:
    found = con.execute(
        f"""
        SELECT a.unit, a.entered + date_diff('day', CAST(a.assigned_at AS DATE), CAST(o.happened_at AS DATE)) AS day,
            CAST(sum(o.amount) AS DOUBLE) AS amount
        FROM ({_source(marts, name)}) o JOIN assigned a USING (customer_id)
        WHERE o.happened_at >= a.assigned_at AND o.happened_at < a.closes GROUP BY ALL ORDER BY ALL"""
    ).to_arrow_table()
    return (
        found["unit"].to_numpy().astype(np.int64),
        found["day"].to_numpy().astype(np.int64),
        found["amount"].to_numpy().astype(np.float64),
    )


def _before(con: duckdb.DuckDBPyConnection, marts: Marts, name: str, days: int, size: int) -> Vector:
    found = con.execute(
        f"""
        SELECT a.unit, CAST(sum(o.amount) AS DOUBLE) AS amount
        FROM ({_source(marts, name)}) o JOIN assigned a USING (customer_id)
        WHERE o.happened_at < a.assigned_at AND o.happened_at >= a.assigned_at - INTERVAL ({int(days)}) DAY
        GROUP BY ALL ORDER BY ALL"""
    ).to_arrow_table()
    values = np.zeros(size)
    values[found["unit"].to_numpy().astype(np.int64)] = found["amount"].to_numpy()
    return values


def _summed(amounts: tuple[Codes, Codes, Vector], size: int, day: int | None) -> Vector:
    unit, days, amount = amounts
    kept = slice(None) if day is None else days <= day
    return np.bincount(unit[kept], weights=amount[kept], minlength=size).astype(np.float64)


def _measured(metric: MetricForm, values: list[Vector], covariates: Any) -> Measured:
    if metric.kind == "conversion":
        return Measured((values[0] > 0).astype(np.float64), None, covariates)
    return Measured(values[0], values[1] if metric.kind == "ratio" else None, covariates)


def _segments(
    con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, before: Mapping[str, Vector]
) -> dict[str, Labels]:
    """Each segment's value for each unit, as it was at the assignment."""
    named = [name for name in experiment.segments if name not in {"is_new", "had_ordered"}]
    found: dict[str, Labels] = {}
    if named or "is_new" in experiment.segments:
        columns = ", ".join(f"coalesce(any_value(c.{name}), '(none)') AS {name}" for name in named)
        rows = con.execute(
            f"""
            SELECT a.unit, any_value(c.registered_at >= a.assigned_at - INTERVAL 1 DAY) AS is_new
                {", " + columns if columns else ""}
            FROM assigned a LEFT JOIN ({marts["dim_customers"]}) c
                ON c.customer_id = a.customer_id AND a.assigned_at >= c.valid_from AND a.assigned_at < c.valid_to
            GROUP BY a.unit ORDER BY a.unit"""
        ).to_arrow_table()
        for name in named:
            found[name] = np.asarray(rows[name].to_numpy(zero_copy_only=False), dtype=str)
        if "is_new" in experiment.segments:
            is_new = np.asarray(rows["is_new"].fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
            found["is_new"] = np.where(is_new, "new", "known before")
    if "had_ordered" in experiment.segments:
        ordered = np.zeros(0) if not before else np.max(np.stack(list(before.values())), axis=0)
        found["had_ordered"] = np.where(ordered > 0, "active before", "not active before")
    return found


def _overlaps(
    con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, variant: Codes, outcome: Vector
) -> tuple[Overlap, ...]:
    """The other experiments that these customers were assigned to while this one ran, or that ran when it began."""
    found = con.execute(
        f"""
        WITH others AS (
            SELECT experiment_id, min(assigned_at) AS begins, max(assigned_at) AS ends
            FROM ({marts[ASSIGNMENTS]}) WHERE experiment_id <> $experiment GROUP BY ALL
        ), ours AS (SELECT min(assigned_at) AS begins, max(closes) AS ends FROM assigned)
        SELECT o.experiment_id, a.unit, any_value(x.variant) AS variant
        FROM others o JOIN ours ON o.begins < ours.ends AND o.ends > ours.begins
        JOIN ({marts[ASSIGNMENTS]}) x ON x.experiment_id = o.experiment_id
        JOIN assigned a ON a.customer_id = x.customer_id
        GROUP BY ALL HAVING count(DISTINCT x.variant) = 1 ORDER BY ALL""",
        {"experiment": experiment.assigned_as},
    ).to_arrow_table()
    names = found["experiment_id"].to_pylist()
    overlaps = []
    for other in sorted(set(names)):
        mine = np.array([name == other for name in names])
        labels = np.full(len(variant), "", dtype=object)
        labels[found["unit"].to_numpy()[mine]] = np.asarray(found["variant"].to_pylist(), dtype=object)[mine]
        overlaps.append(overlap(other, variant, labels.astype(str), outcome))
    return tuple(overlaps)
