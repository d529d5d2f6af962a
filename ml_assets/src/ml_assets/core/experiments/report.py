"""An experiment of a shop from its marts to its result, memo and pictures, and the form in which these are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from cartograph.releases.contents.experiments import ExperimentResult
from ml_assets.core.evaluation import plots
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.experiments import pictures
from ml_assets.core.experiments.decision import Decision, Frame, assess, result
from ml_assets.core.experiments.form import Experiment
from ml_assets.core.experiments.integrity import Check, assignment_checks, overlap_warning, sample_ratio
from ml_assets.core.experiments.memo import memo
from ml_assets.core.experiments.moments import Effects, Moments, columns_of, effects, moments
from ml_assets.core.experiments.panel import Assignments, Marts, Panel, assignments, panel
from ml_assets.core.experiments.plan import Rules
from ml_assets.core.experiments.sequential import Sequence as Looks
from ml_assets.core.experiments.sequential import sequence

MOST_LOOKS = 60
"""Looks of the drawn sequence: each day, or each some-eth day of a long experiment."""


class Report(NamedTuple):
    """A result with its memo, and its pictures."""

    result: ExperimentResult
    pictures: tuple[Picture, ...]


def integrity(found: Assignments, experiment: Experiment) -> tuple[Check, ...]:
    """The tests of an experiment's assignments."""
    return (sample_ratio(found.counts, experiment.shares), *assignment_checks(found.assigned))


def report(con: duckdb.DuckDBPyConnection, marts: Marts, experiment: Experiment, currency: str) -> Report:
    """Read, judge and tell the experiment; one of whom nobody is assigned yet abstains."""
    rules = Rules(alpha=experiment.alpha, correction=experiment.correction)
    found = assignments(con, marts, experiment)
    if found is None:
        frame = Frame(experiment.name, experiment.description, "planned", experiment.starts, experiment.ends, None)
        told = Decision("hold", None, (f"Nobody is assigned to {experiment.assigned_as} in the data yet.",))
        return Report(_with_memo(result(frame, dict.fromkeys(experiment.shares, 0), rules, (), told)), ())
    span = found.span
    frame = Frame(experiment.name, experiment.description, span.state, span.starts, span.ends, span.data_end)
    checks = integrity(found, experiment)
    shares = pictures.shares_over_time(found.days, found.shares, experiment.shares)
    failed = [check for check in checks if not check.passed]
    if failed:
        told = Decision("invalid", None, tuple(f"{check.name} failed: {check.detail}." for check in failed))
        return Report(_with_memo(result(frame, found.counts, rules, checks, told)), (shares,))
    rows = panel(con, marts, experiment, span)
    last = (min(span.until, span.data_end) - span.starts).days - 1
    is_sequential = span.state != "complete"
    rules = Rules(experiment.alpha, experiment.correction, is_sequential, max(rows.information(last), 1e-9))
    warnings = [said for one in rows.overlaps if (said := overlap_warning(one))]
    answer = _with_memo(assess(frame, rows.units, experiment.plan(currency), rules, checks, warnings))
    drawn = [shares]
    primary = next((one for one in answer.estimates if one.role == "primary"), None)
    if primary is not None:
        days, seen = looks(rows, last, experiment.alpha)
        when = [span.starts + timedelta(days=day) for day in days]
        drawn += [pictures.effects(answer.estimates), pictures.over_time(primary.metric, primary.unit, when, seen)]
    return Report(answer, tuple(drawn))


def looks(rows: Panel, last: int, alpha: float) -> tuple[list[int], dict[str, Looks]]:
    """What each day up to `last` would have said of the primary metric, by variant."""
    days = [int(day) for day in np.unique(np.linspace(0, last, min(last + 1, MOST_LOOKS)).astype(np.int64))]
    metric = next(metric for metric in rows.experiment.metrics if metric.role == "primary")
    variants = len(rows.units.variants)
    steps: list[Moments] = []
    for day in days:
        measured, variant = rows.at(day, metric)
        if len(variant) == 0:
            nothing = np.zeros((variants, 3, 3))
            steps.append(Moments(np.zeros(variants), np.full((variants, 3), np.nan), nothing * np.nan))
        else:
            steps.append(moments(columns_of(measured, variant), variant, variants))
    stacked = Moments(*(np.stack(part) for part in zip(*steps, strict=True)))
    information = np.array([rows.information(day) for day in days])
    found: dict[str, Looks] = {}
    for place in range(1, variants):
        control, treated = (Moments(*(part[:, at] for part in stacked)) for at in (0, place))
        with np.errstate(divide="ignore", invalid="ignore"):
            one: Effects = effects(control, treated)
        smallest = np.minimum(control.size, treated.size)
        found[rows.units.variants[place]] = sequence(one, smallest, information, alpha)
    return days, found


def _with_memo(found: ExperimentResult) -> ExperimentResult:
    return found.model_copy(update={"memo": memo(found)})


def unsound(found: ExperimentResult) -> list[str]:
    """What must not leave of a result: estimates that are not finite, or of an experiment that is not valid."""
    names = ("effect", "ci_low", "ci_high", "always_low", "always_high", "p_value", "control_mean", "variant_mean")
    wrong = [
        f"{one.metric} of {one.variant}: {name} is {getattr(one, name)}"
        for one in found.estimates
        for name in names
        if not math.isfinite(getattr(one, name))
    ]
    has_failed = any(not check.passed for check in found.integrity)
    if has_failed and (found.verdict != "invalid" or found.estimates or found.segments):
        wrong.append(f"a check of its assignment failed, and it has {len(found.estimates)} estimates")
    if found.verdict == "ship" and found.choice not in found.variants:
        wrong.append(f"it ships {found.choice}, which is no variant")
    return wrong


def contract(experiment: Experiment) -> Contract:
    """The table of an experiment's result."""
    return Contract(
        dataset=experiment.name,
        grain="The experiment's latest result.",
        key=("name",),
        columns=(
            Column(name="name", type="string", description="The experiment."),
            Column(name="verdict", type="string", description="`ship`, `hold`, `stop` or `invalid`."),
            Column(name="choice", type="string", nullable=True, description="The variant to ship."),
            Column(name="as_of_date", type="date", nullable=True, description="The day after the last of the data."),
            Column(name="result", type="string", description="The whole result as JSON, in the form of a release."),
            Column(
                name="pictures", type="string", nullable=True, description="Its pictures as JSON, each with its SVG."
            ),
        ),
    )


def row_of(made: Report, schema: pa.Schema) -> pa.Table:
    """The result and its pictures as the row of its table."""
    found = made.result
    row = {
        "name": found.name,
        "verdict": found.verdict,
        "choice": found.choice,
        "as_of_date": found.as_of,
        "result": found.model_dump_json(),
        "pictures": plots.written(made.pictures),
    }
    return pa.Table.from_pylist([row], schema=schema)


def read_reports(con: duckdb.DuckDBPyConnection, selects: Sequence[str]) -> tuple[Report, ...]:
    """The results in the tables of `selects`, with their pictures: none in a table of before these were stored."""
    rows = [row for select in selects for row in con.execute(f"FROM ({select})").to_arrow_table().to_pylist()]
    return tuple(
        Report(ExperimentResult.model_validate_json(row["result"]), plots.read(row.get("pictures"))) for row in rows
    )
