"""An experiment from any file: a row for each unit (or several, which are added up), its variant and its metrics.

What is made of it is `decision`'s. The file is read by DuckDB, so that a million rows take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.bench.files import (
    DATE_CURE,
    PLACE,
    ROWS,
    as_date,
    copies,
    filled,
    is_no_number,
    out_of_range,
    quoted,
    read_rows,
    refuse,
)
from ml_assets.core.experiments.decision import Frame, assess
from ml_assets.core.experiments.integrity import sample_ratio
from ml_assets.core.experiments.moments import columns_of, cumulative, effects, explains_wholly
from ml_assets.core.experiments.plan import Codes, Correction, Measured, Metric, Rules, Units, Vector
from ml_assets.core.experiments.sequential import SMALLEST_ARM, sequence
from ml_assets.core.experiments.sequential import Sequence as Looks

FORM = "A row for each unit, with a column of its variant and one of each metric."
USUAL_CONTROLS = ("control", "ctrl", "baseline", "base", "a", "0", "off", "false", "none", "holdout", "default", "old")
MOST_LOOKS = 366
MOST_VARIANTS = 20
YES, NO = ("true", "t", "yes", "y"), ("false", "f", "no", "n")


class Asked(NamedTuple):
    """What is asked of a file, by the names of its columns.

    `ratios` are pairs of numerator and denominator. `shares` are the planned shares by variant, none for equal ones.
    `lower_is_better`, `smallest_effects` and `margins` are by metric, as `Metric` has them; guardrails are metrics too.
    """

    variant: str
    metrics: tuple[str, ...] = ()
    ratios: tuple[tuple[str, str], ...] = ()
    guardrails: tuple[str, ...] = ()
    control: str | None = None
    unit: str | None = None
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    shares: Mapping[str, float] = {}
    time: str | None = None
    lower_is_better: tuple[str, ...] = ()
    smallest_effect: float | None = None
    margins: Mapping[str, float] = {}
    cap: float | None = None
    alpha: float = 0.05
    correction: Correction = "holm"
    is_sequential: bool = False
    planned_units: int | None = None


class Given(NamedTuple):
    """A file's units, and the look (day) at which each is there, where the file tells times."""

    units: Units
    days: tuple[date, ...]
    look: Codes | None
    rows: int
    control_is_said: bool
    copied: int


def analyse(path: Path, asked: Asked) -> dict[str, Any]:
    """The result for the experiment in the file at `path`: what the command prints.

    Raises:
        BenchDataError: the file, a column or an option cannot be used; the message is one sentence and its cure.
    """
    given = read(path, asked)
    units = given.units
    metrics = [_of_kind(metric, units) for metric in _metrics(asked)]
    total = len(units.variant)
    shares = _shares(asked, units.variants)
    state = _state(asked, total)
    rules = Rules(
        alpha=asked.alpha,
        correction=asked.correction,
        is_sequential=asked.is_sequential or state == "running",
        information=total / (asked.planned_units or total),
    )
    _require_something(path, units, metrics)
    notes = [] if given.control_is_said else [
        f"{units.variants[0]} was taken for the control, by its name: give --control where it is another."
    ]  # fmt: skip
    if given.copied:
        twice = (
            "and were added up: each unit's metrics are"
            if asked.unit
            else "and count as units of their own: the file is"
        )
        notes.append(f"{given.copied:,} rows are exact copies of others, {twice} too large where these are mistakes.")
    frame = Frame(path.stem, f"The experiment of {path.name}.", state, None, None, None)
    found = assess(frame, units, metrics, rules, [sample_ratio(units.counts, shares)], notes)
    told = {
        "file": path.name,
        "rows": given.rows,
        "units": total,
        "expected_split": {name: round(share, 6) for name, share in shares.items()},
        "covariates": list(asked.covariates),
    }
    left_out = {"name", "description", "starts", "ends", "as_of", "memo"}
    printed = {"experiment": told, **found.model_dump(mode="json", exclude=left_out)}
    seen = looks(given, metrics[0], rules) if found.estimates else []
    return printed | {"looks": seen} if seen else printed


def _state(asked: Asked, total: int) -> Any:
    return "running" if asked.planned_units and total < asked.planned_units else "complete"


def read(path: Path, asked: Asked) -> Given:
    """The units of a CSV or Parquet file.

    Raises:
        BenchDataError: the file is not there, lacks a column, or holds a value that cannot be used; it says where.
    """
    numbers = _numbers(asked)
    named = [asked.variant, *numbers, *asked.covariates, *asked.segments]
    named += [name for name in (asked.unit, asked.time) if name]
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        read_rows(con, path, named, FORM)
        (rows,) = con.execute(f"SELECT count(*) FROM {ROWS}").fetchone() or (0,)
        if not rows:
            raise BenchDataError(f"{path} has no rows. {FORM}")
        for name in dict.fromkeys((asked.variant, *([asked.unit] if asked.unit else []))):
            refuse(con, path, name, f"NOT {filled(name)}", "Fill it in for each row, or leave the row out.")
        for name in dict.fromkeys((*numbers, *asked.covariates)):
            cure = "Write a finite number, or true and false; where nothing happened, 0."
            refuse(con, path, name, _is_no_value(name), cure)
        for name in [asked.time] if asked.time else []:
            refuse(con, path, name, f"{as_date(name)} IS NULL", DATE_CURE)
        _require_one_variant(con, path, asked)
        copied = copies(con, f"SELECT * EXCLUDE ({PLACE}) FROM {ROWS}")
        table = con.execute(_select(asked, numbers)).to_arrow_table()
    names, places = _encoded(table["variant"])
    variants = _variants(path, asked, names)
    codes = np.array([variants.index(name) for name in names], dtype=np.int64)[places]
    columns = {name: table[f"n{at}"].to_numpy().astype(np.float64) for at, name in enumerate(numbers)}
    before = [table[f"c{at}"].to_numpy().astype(np.float64) for at in range(len(asked.covariates))]
    for name, values in (*columns.items(), *zip(asked.covariates, before, strict=True)):
        if told := out_of_range(values):
            raise BenchDataError(f"{path}, column {name}: {told}")
    covariates = np.column_stack(before) if before else None
    look, days = _days(table) if asked.time else (None, ())
    measured = {name: Measured(_capped(columns[name], asked.cap), None, covariates) for name in _plain(asked)}
    for top, bottom in asked.ratios:
        sums = np.bincount(codes, weights=columns[bottom], minlength=len(variants))
        if empty := [name for name, total in zip(variants, sums, strict=True) if not total > 0]:
            raise BenchDataError(
                f"{path}, column {bottom}: its sum must be above 0 in each variant to be what {top} is divided by, and "
                f"in {empty[0]} it is {sums[variants.index(empty[0])]:g}."
            )
        value = _capped(columns[top], asked.cap)
        measured[f"{top}/{bottom}"] = Measured(value, columns[bottom], covariates)
    segments = {}
    for at, name in enumerate(asked.segments):
        values, of_row = _encoded(table[f"s{at}"])
        segments[name] = np.array(values)[of_row]
    is_said = asked.control is not None or _usual(variants) is not None
    return Given(Units(variants, codes, measured, segments), days, look, rows, is_said, copied)


def looks(given: Given, metric: Metric, rules: Rules) -> list[dict[str, Any]]:
    """What each day would have said of the primary metric: the effect with the interval that holds at every look.

    A row counts from its day on, so that a metric must be complete when its row is dated.
    """
    if given.look is None:
        return []
    units, count = given.units, len(given.days)
    columns = columns_of(units.measured[metric.name], units.variant)
    seen = cumulative(columns, units.variant, given.look, len(units.variants), count)
    share = seen.size.sum(axis=1) / len(units.variant) * rules.information
    found: list[dict[str, Any]] = []
    for place in range(1, len(units.variants)):
        pair = [type(seen)(*(part[:, at] for part in seen)) for at in (0, place)]
        one = sequence(effects(pair[0], pair[1]), np.minimum(pair[0].size, pair[1].size), share, rules.alpha)
        found += _told(units.variants[place], given.days, one)
    return found


def _told(variant: str, days: Sequence[date], found: Looks) -> list[dict[str, Any]]:
    return [
        {"variant": variant, "day": str(day), "effect": effect, "always_low": low, "always_high": high, "p_value": p}
        for day, effect, low, high, p in zip(days, *(part.tolist() for part in found), strict=True)
        if math.isfinite(low)
    ]


def _metrics(asked: Asked) -> list[Metric]:
    """The metrics, the primary one first: the first plain metric, or else the first ratio."""
    wanted = [*asked.metrics, *(f"{top}/{bottom}" for top, bottom in asked.ratios)]
    if not wanted:
        raise BenchDataError("There is no metric: give at least one --metric or --ratio, the one that decides first.")
    every = [*wanted, *asked.guardrails]
    if twice := sorted({name for name in every if every.count(name) > 1}):
        raise BenchDataError(f"{twice[0]} is given twice: a column is a --metric or a --guardrail, once.")
    for option, names in (("--lower-is-better", asked.lower_is_better), ("--margin", asked.margins)):
        if unknown := sorted(set(names) - set(every)):
            raise BenchDataError(f"{option} {unknown[0]} is none of the metrics: {', '.join(every)}.")
    return [
        Metric(
            name,
            kind="ratio" if "/" in name and name in wanted[len(asked.metrics) :] else "mean",
            role="guardrail" if name in asked.guardrails else "primary" if place == 0 else "secondary",
            higher_is_better=name not in asked.lower_is_better,
            smallest_effect=asked.smallest_effect if place == 0 else None,
            margin=asked.margins.get(name),
        )
        for place, name in enumerate(every)
    ]


def _of_kind(metric: Metric, units: Units) -> Metric:
    value = units.measured[metric.name].value
    is_yes_or_no = metric.kind == "mean" and bool(np.isin(value, (0.0, 1.0)).all())
    return replace(metric, kind="conversion") if is_yes_or_no else metric


def _plain(asked: Asked) -> tuple[str, ...]:
    return (*asked.metrics, *asked.guardrails)


def _numbers(asked: Asked) -> list[str]:
    return list(dict.fromkeys((*_plain(asked), *(name for pair in asked.ratios for name in pair))))


def _as_value(name: str) -> str:
    """SQL of a column's number, where true and false are 1 and 0."""
    text = f"lower(trim(CAST({quoted(name)} AS VARCHAR)))"
    words = f"CASE WHEN {text} IN {YES} THEN 1.0 WHEN {text} IN {NO} THEN 0.0 END"
    return f"coalesce(try_cast({quoted(name)} AS DOUBLE), {words})"


def _is_no_value(name: str) -> str:
    text = f"lower(trim(CAST({quoted(name)} AS VARCHAR)))"
    return f"({is_no_number(name)}) AND coalesce({text} NOT IN {YES + NO}, true)"


def _select(asked: Asked, numbers: Sequence[str]) -> str:
    """One row for each unit: without a column of units, for each row of the file."""
    variant = f"trim(CAST({quoted(asked.variant)} AS VARCHAR))"
    if not asked.unit:
        columns = [f"{_as_value(name)} AS n{at}" for at, name in enumerate(numbers)]
        columns += [f"{_as_value(name)} AS c{at}" for at, name in enumerate(asked.covariates)]
        columns += [f"{_label(name)} AS s{at}" for at, name in enumerate(asked.segments)]
        columns += [f"{as_date(asked.time)} AS day"] if asked.time else []
        return f"SELECT {variant} AS variant{''.join(f', {column}' for column in columns)} FROM {ROWS} ORDER BY {PLACE}"
    columns = [f"sum({_as_value(name)}) AS n{at}" for at, name in enumerate(numbers)]
    columns += [f"any_value({_as_value(name)}) AS c{at}" for at, name in enumerate(asked.covariates)]
    columns += [f"any_value({_label(name)}) AS s{at}" for at, name in enumerate(asked.segments)]
    columns += [f"max({as_date(asked.time)}) AS day"] if asked.time else []
    return (
        f"SELECT any_value({variant}) AS variant{''.join(f', {column}' for column in columns)} "
        f"FROM {ROWS} GROUP BY {quoted(asked.unit)} ORDER BY min({PLACE})"
    )


def _label(name: str) -> str:
    return f"coalesce(nullif(trim(CAST({quoted(name)} AS VARCHAR)), ''), '(none)')"


def _require_one_variant(con: duckdb.DuckDBPyConnection, path: Path, asked: Asked) -> None:
    """Each unit has one variant, and one value of each covariate and segment, which no treatment may change."""
    if not asked.unit:
        return
    for name in dict.fromkeys((asked.variant, *asked.covariates, *asked.segments)):
        found = con.execute(
            f"""
            SELECT any_value({quoted(asked.unit)})::VARCHAR, list(DISTINCT {quoted(name)}::VARCHAR)[:2],
                count(*) OVER ()
            FROM {ROWS} GROUP BY {quoted(asked.unit)} HAVING count(DISTINCT {quoted(name)}) > 1
            ORDER BY min({PLACE}) LIMIT 1"""
        ).fetchone()
        if found and name == asked.variant:
            raise BenchDataError(
                f"{path}: {found[2]:,} units are in more than one variant, the first is {asked.unit} {found[0]} (in "
                f"{' and '.join(sorted(found[1]))}); find out how they were assigned twice, then leave them out."
            )
        if found:
            raise BenchDataError(
                f"{path}, column {name}: {asked.unit} {found[0]} has two values; it must be known before the "
                "assignment, and be the same in all rows of a unit."
            )


def _encoded(column: pa.ChunkedArray) -> tuple[list[str], Codes]:
    """The values of a column of text, and the place of each row's among them."""
    found = column.combine_chunks().dictionary_encode()
    return found.dictionary.to_pylist(), found.indices.to_numpy().astype(np.int64)


def _variants(path: Path, asked: Asked, found: Sequence[str]) -> tuple[str, ...]:
    names = sorted(found)
    if len(names) < 2:
        raise BenchDataError(f"{path}, column {asked.variant}: all rows are {names[0]}; two variants are needed.")
    if len(names) > MOST_VARIANTS:
        raise BenchDataError(
            f"{path}, column {asked.variant}: it has {len(names):,} different values, and an experiment has at most "
            f"{MOST_VARIANTS} variants; name the column of the variants with --variant."
        )
    if asked.control is not None and asked.control not in names:
        raise BenchDataError(f"--control {asked.control} is no variant: column {asked.variant} has {', '.join(names)}.")
    control = asked.control or _usual(names) or names[0]
    return (control, *(name for name in names if name != control))


def _usual(names: Sequence[str]) -> str | None:
    """The one variant whose name says that it is the control; None where none or several do."""
    called = [
        n for n in names if n.strip().lower() in USUAL_CONTROLS or n.strip().lower().startswith(("no ", "control"))
    ]
    return called[0] if len(called) == 1 else None


def _shares(asked: Asked, variants: tuple[str, ...]) -> dict[str, float]:
    if not asked.shares:
        return dict.fromkeys(variants, 1 / len(variants))
    if set(asked.shares) != set(variants):
        raise BenchDataError(
            f"--split names {', '.join(asked.shares)}, and the variants are {', '.join(variants)}: name each once."
        )
    shares = planned(asked.shares)
    return {name: shares[name] for name in variants}


def planned(given: Mapping[str, float]) -> dict[str, float]:
    """The shares of the variants, which add up to 1, or are made so of whole parts such as 2 and 1.

    Raises:
        BenchDataError: they are neither.
    """
    total = math.fsum(given.values())
    if all(float(part).is_integer() for part in given.values()) or math.isclose(total, 1, abs_tol=1e-6):
        return {name: part / total for name, part in given.items()}
    raise BenchDataError(
        f"--split adds up to {total:g}: write shares that add up to 1, or whole parts such as 2 and 1."
    )


def _require_something(path: Path, units: Units, metrics: Sequence[Metric]) -> None:
    counts = units.counts
    small = min(counts, key=lambda name: counts[name])
    if counts[small] < SMALLEST_ARM:
        raise BenchDataError(
            f"{path}: {small} has {counts[small]:,} units, and each variant needs {SMALLEST_ARM}; give more data."
        )
    for name, measured in units.measured.items():
        if explains_wholly(measured, units.variant):
            raise BenchDataError(
                f"{path}: the covariates tell {name} wholly, so that they are {name} itself, or came after the "
                "assignment; leave out of --covariate what was not known before."
            )
    primary = units.measured[metrics[0].name]
    if primary.weight is None and np.ptp(primary.value) == 0:
        raise BenchDataError(
            f"{path}, column {metrics[0].name}: it is {primary.value[0]:g} for all units, so nothing can be compared."
        )


def _capped(values: Vector, quantile: float | None) -> Vector:
    """Values no higher than a quantile of all units together, which knows no variant."""
    return values if quantile is None else np.minimum(values, np.quantile(values, quantile))


def _days(table: Any) -> tuple[Codes, tuple[date, ...]]:
    days = table["day"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    found, look = np.unique(days, return_inverse=True)
    if len(found) > MOST_LOOKS:  # of many days, each some-eth: the band at these is the same
        chosen = np.unique(np.linspace(0, len(found) - 1, MOST_LOOKS).astype(np.int64))
        look, found = np.searchsorted(chosen, look), found[chosen]
    return look.astype(np.int64), tuple(day.astype(object) for day in found)
