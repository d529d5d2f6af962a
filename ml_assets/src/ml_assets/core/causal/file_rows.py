"""The rows of a user's file as a study: the columns that are asked for, read from CSV or Parquet and coded.

What is asked of them, and what is told of the answer, is the business of `files`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from ml_assets.core.bench.files import (
    DATE_CURE,
    READERS,
    as_date,
    copies,
    is_date,
    no_file,
    out_of_range,
    quoted,
    uneven,
    unreadable,
)
from ml_assets.core.causal.errors import CausalFileError
from ml_assets.core.causal.gaps import code_gap
from ml_assets.core.causal.study import Covariates, Estimand, Kind, Labels, Study, Vector

MOST_ROWS = 200_000
"""Of more rows a sample is taken, the same each time: it narrows no interval that anybody acts on."""
FEWEST_ROWS = 100
MOST_LEVELS = 10
"""Of a treatment. A number of more values is taken for an amount."""
MOST_CATEGORIES, CERTAIN_CATEGORIES, ROWS_OF_CATEGORY = 100, 15, 20
"""Of a covariate in words the most frequent values are held apart: those of so many rows, and the first few anyhow.

The rarer ones together are one more.
"""
IDENTIFIER_SHARE = 0.9
"""A column of words with a value of its own for so many rows tells them apart, and compares nothing."""
NULLS = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
"""What is null among numbers, dates and truth values of CSV. Among words only the empty one is: they may be values."""
NOTHING_DONE = "None"
"""No null among treatments but the control, of numbers too."""
CONTROL = re.compile(r"^(0|no|non|none|not|control|controls|untreated|placebo|false|off|baseline|without)\b", re.I)
"""What the control is called, where nobody says so."""
WORD_TYPES = ("VARCHAR", "ENUM", "UUID")
WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
TIME_TYPES = ("DATE", "TIMESTAMP", "TIME")


@dataclass(frozen=True)
class Asked:
    """A question about a file: its columns by their part, and what is known of how the treatment was chosen.

    Without an `estimand`, the effect on all is asked for; or that on the treated, where some rows could not have been.
    """

    treatment: str
    outcome: str
    confounders: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    negative_controls: tuple[str, ...] = ()
    cluster: str | None = None
    kind: Kind | None = None
    control: str | None = None
    estimand: Estimand | None = None
    is_randomised: bool = False
    unrecorded: tuple[str, ...] = ()
    graph: Path | None = None
    trims: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are asked for, each once."""
        more = [] if self.cluster is None else [self.cluster]
        named = (self.treatment, self.outcome, *self.confounders, *self.modifiers, *self.negative_controls, *more)
        return tuple(dict.fromkeys(named))


class Coded(NamedTuple):
    """A treatment as codes or amounts; `levels` names the codes, the control first."""

    kind: Kind
    values: Vector
    levels: tuple[str, ...]


class Covariate(NamedTuple):
    """A covariate as columns of numbers; of words, `baseline` is the value of the rows that are 0 in all of them.

    Of words that have more values than columns, `pooled` has the code of each row's value among those that share one,
    and -1 where it has a column of its own.
    """

    columns: dict[str, Vector]
    pooled: Labels | None = None
    baseline: str | None = None


class Loaded(NamedTuple):
    """The study of a file, its kind, and facts about the file that a reader has to know.

    `empty` has the share of the rows in which each covariate is, `pooled` what `Covariate` has of those that have it.
    """

    study: Study
    kind: Kind
    facts: dict[str, Any]
    empty: Mapping[str, float]
    pooled: Mapping[str, Labels]
    warnings: tuple[str, ...]


def read(path: Path, asked: Asked) -> Loaded:
    """The rows of a CSV (also gzipped) or Parquet file that have a treatment and an outcome, as a study.

    Raises:
        CausalFileError: the file is not there or cannot be read, a column is missing or not what it is asked as.
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        types = load(con, path, asked)
        rows, whole = _fetch(con, asked, types)
        (copied,) = con.execute("SELECT rows FROM copied").fetchone() or (0,)
        names = dict.fromkeys((*asked.confounders, *asked.modifiers))
        coded = {name: coded_covariate(con, path, name, types[name]) for name in names}
        treatment = coded_treatment(con, path, asked, types[asked.treatment])
        outcome = numbers(con, path, asked.outcome, types[asked.outcome], "outcome")
        if rows < FEWEST_ROWS:
            raise CausalFileError(
                f"{path} has {rows} rows with a treatment and an outcome, and {FEWEST_ROWS} are needed. Give more rows."
            )
        if outcome.std() == 0:
            raise CausalFileError(
                f"{path}, column {asked.outcome}: it is {outcome[0]:g} in each row. An outcome varies."
            )
        placebo = {name: numbers(con, path, name, types[name], "negative control") for name in asked.negative_controls}
        clusters = _clusters(con, path, asked.cluster) if asked.cluster else None
        empty = {name: 1 - float(np.mean(_column(con, _is_given(name, types[name])))) for name in coded}
        study = Study(
            treatment=treatment.values,
            outcome=outcome,
            confounders=_covariates(coded, (*asked.confounders, *asked.modifiers), rows),
            clusters=clusters,
            levels=treatment.levels,
        )
        codes = [] if asked.is_randomised else _codes(study, treatment.kind, types)
        coded |= {name: coded_words(con, path, name, f"{quoted(name)}::HUGEINT::VARCHAR") for name in codes}
    told = []
    if copied:
        told.append(
            f"{copied:,} rows are exact copies of others: where they tell of the same unit leave them out, or the "
            "interval is too narrow."
        )
    if whole["dropped"]:
        told.append(f"{whole['dropped']:,} rows without a treatment or an outcome were left out.")
    if whole["rows"] - whole["dropped"] > rows:
        told.append(f"A sample of {rows:,} rows was taken.")
    for name, values in list(placebo.items()):
        if np.isnan(values).any():
            del placebo[name]
            told.append(f"The negative control {name} is empty in some rows and was not used.")
    told += [
        f"The numbers of {name} tell more as codes than as an amount: they are held fixed as words." for name in codes
    ]
    baselines = {name: one.baseline for name, one in coded.items() if one.baseline is not None}
    study = replace(
        study,
        confounders=_covariates(coded, (*asked.confounders, *asked.modifiers), rows),
        modifiers=_covariates(coded, asked.modifiers, rows)._replace(baselines=baselines),
        placebo_outcomes=placebo,
    )
    facts = {"file": path.name, "rows": whole["rows"], "rows_used": rows}
    pooled = {name: one.pooled for name, one in coded.items() if one.pooled is not None}
    return Loaded(study, treatment.kind, facts, empty, pooled, tuple(told))


def load(con: duckdb.DuckDBPyConnection, path: Path, asked: Asked) -> Mapping[str, str]:
    """Make the table `whole` of the columns that are asked for, and return the type of each.

    Raises:
        CausalFileError: the file is not there or cannot be read, or has no such column.
    """
    reader = next((reader for suffix, reader in READERS.items() if path.name.lower().endswith(suffix)), None)
    if wrong := no_file(path):
        raise CausalFileError(wrong)
    if reader is None:
        raise CausalFileError(f"{path} is none of {', '.join(READERS)}. Convert it, or rename it to what it is.")
    given: dict[str, Any] = {"path": str(path)}
    source = "read_parquet($path)"
    if reader == "read_csv":
        source, given["nulls"] = "read_csv($path, header = true, sample_size = -1, nullstr = $nulls)", NULLS
    try:
        types = _types(con, source, given)
        if missing := [name for name in asked.columns if name not in types]:
            shown = ", ".join([*types][:40]) + (", …" if len(types) > 40 else "")
            raise CausalFileError(
                uneven(path, asked.columns) or f"{path} has no column {missing[0]}; there are {shown}."
            )
        chosen = ", ".join(map(quoted, asked.columns))
        con.execute(f"CREATE TABLE whole AS SELECT {chosen} FROM {source}", given)
        if reader == "read_csv":
            _read_words(con, path, asked, types)
        con.execute(f"CREATE TABLE copied AS SELECT {copies(con, f'SELECT * FROM {source}', given)} AS rows")
    except duckdb.Error as error:
        raise CausalFileError(unreadable(path, error)) from None
    return {row[0]: row[1] for row in con.execute("DESCRIBE whole").fetchall()}


def _types(con: duckdb.DuckDBPyConnection, source: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The type of each column of a file, in its order."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM {source}", given).fetchall()}


def _read_words(con: duckdb.DuckDBPyConnection, path: Path, asked: Asked, types: Mapping[str, str]) -> None:
    """Put the columns of words into the table `whole` as they stand in the CSV, where only an empty one is null."""
    read_as = "read_csv($path, header = true, sample_size = -1, nullstr = $nulls)"
    of_treatment = {"path": str(path), "nulls": [null for null in NULLS if null != NOTHING_DONE]}
    words = [name for name in asked.columns if _is_words(types[name])]
    if asked.treatment not in words and _is_words(_types(con, read_as, of_treatment)[asked.treatment]):
        words.append(asked.treatment)
    if not words:
        return
    con.execute(
        f"CREATE TABLE words AS SELECT {', '.join(map(quoted, words))} FROM "
        "read_csv($path, header = true, sample_size = -1, all_varchar = true, nullstr = '')",
        {"path": str(path)},
    )
    con.execute("ALTER TABLE whole RENAME TO typed")
    chosen = ", ".join(f"{'words' if name in words else 'typed'}.{quoted(name)}" for name in asked.columns)
    con.execute(f"CREATE TABLE whole AS SELECT {chosen} FROM typed POSITIONAL JOIN words")


def coded_treatment(con: duckdb.DuckDBPyConnection, path: Path, asked: Asked, kind: str) -> Coded:
    """The treatment as 0 and 1, as codes of a few levels of which 0 is the control, or as an amount.

    Raises:
        CausalFileError: it is the same in each row, has too many levels, or is not of the kind that was asked for.
    """
    name = quoted(asked.treatment)
    shown = f"{name}::VARCHAR" if _is_words(kind) or _is_time(kind) else f"{name}::DOUBLE"
    if kind in WHOLE_TYPES:  # of which doubles hold the first 15 digits
        shown = name
    found = con.execute(f"SELECT {shown}, count(*) FROM used GROUP BY 1 ORDER BY 1 LIMIT 1000").fetchall()
    levels = [row[0] for row in found]
    where = f"{path}, column {asked.treatment}"
    if len(levels) < 2:
        told = f"{word(levels[0])} in each row" if levels else "empty in each row"
        raise CausalFileError(f"{where}: the treatment is {told}. There is nothing to compare.")
    is_amount = not (_is_words(kind) or _is_time(kind))
    if asked.kind == "continuous" or (asked.kind is None and is_amount and len(levels) > MOST_LEVELS):
        if not is_amount:
            raise CausalFileError(f"{where}: it holds {word(levels[0])}. A continuous treatment is a number.")
        return Coded("continuous", numbers(con, path, asked.treatment, kind, "treatment"), ())
    if len(levels) > MOST_LEVELS:
        raise CausalFileError(
            f"{where}: it has {'1,000 or more' if len(levels) == 1000 else len(levels)} levels, and {MOST_LEVELS} can "
            "be compared. Keep the rows of a few, or give an amount with --kind continuous."
        )
    if asked.kind == "binary" and len(levels) > 2:
        raise CausalFileError(f"{where}: it has {len(levels)} levels, not two. Leave out --kind, or keep two of them.")
    words = {word(level): level for level in levels}
    control = _control(where, asked.control, list(words))
    order = [control, *(word for word in words if word != control)]
    codes = {words[word]: code for code, word in enumerate(order)}
    coded = np.array([codes[value] for value in _column(con, shown)], dtype=np.float64)
    return Coded("binary" if len(levels) == 2 else "discrete", coded, tuple(order))


def coded_covariate(con: duckdb.DuckDBPyConnection, path: Path, column: str, kind: str) -> Covariate:
    """A covariate as columns of numbers: dates are days, truth values 0 and 1, and nulls stay; words as `coded_words`.

    Raises:
        CausalFileError: it has infinite values, is neither number, date nor words, holds dates that cannot be read,
            or tells each row apart.
    """
    if not _is_words(kind):
        values = numbers(con, path, column, kind, "covariate")
        return Covariate({column: values})
    name = quoted(column)
    if _are_dates(con, path, column):
        days = con.execute(f"SELECT epoch({as_date(column)}) / 86400 AS day FROM used ORDER BY place").fetchnumpy()
        return Covariate({column: np.ma.filled(np.ma.asarray(days["day"], dtype=np.float64), np.nan)})
    return coded_words(con, path, column, f"{name}::VARCHAR")


def coded_words(con: duckdb.DuckDBPyConnection, path: Path, column: str, value: str) -> Covariate:
    """Words as a column of 0 and 1 for each frequent one but the most frequent; a null is one, too.

    `value` is the SQL of the word.

    Raises:
        CausalFileError: it tells each row apart.
    """
    counted = con.execute(f"SELECT {value} AS v, count(*) FROM used GROUP BY v ORDER BY 2 DESC, 1").fetchall()
    rows = sum(count for _, count in counted)
    if len(counted) > IDENTIFIER_SHARE * rows:
        raise CausalFileError(
            f"{path}, column {column}: it has {len(counted):,} values in {rows:,} rows, so it tells rows apart and "
            "compares none. Leave it out, or write what it stands for."
        )
    codes = {found: code for code, (found, _) in enumerate(counted)}
    given = np.array([codes[found] for found in _column(con, value)], dtype=np.int64)
    certain = min(len(counted), CERTAIN_CATEGORIES)
    kept = max(certain, sum(count >= ROWS_OF_CATEGORY for _, count in counted[:MOST_CATEGORIES]))
    columns = {f"{column}={word(counted[code][0])}": (given == code).astype(np.float64) for code in range(1, kept)}
    if kept == len(counted):
        return Covariate(columns or {column: np.zeros(rows)}, None, word(counted[0][0]) if columns else None)
    rare = given >= kept
    return Covariate(
        {**columns, f"{column}=other": rare.astype(np.float64)}, np.where(rare, given - kept, -1), word(counted[0][0])
    )


def _are_dates(con: duckdb.DuckDBPyConnection, path: Path, column: str) -> bool:
    """Whether words are dates: most of them are, in whichever way they are written.

    Raises:
        CausalFileError: they are, and one cannot be read, so that days would be words.
    """
    name = quoted(column)
    dates = f"count(*) FILTER (WHERE {is_date(column)}) > 0.5 * count({name})"
    other = f"arg_min({name}::VARCHAR, place) FILTER (WHERE {as_date(column)} IS NULL AND {name} IS NOT NULL)"
    is_dates, shown = con.execute(f"SELECT {dates}, {other} FROM used").fetchone() or (False, None)
    if is_dates and shown is not None:
        raise CausalFileError(f"{path}, column {column}: it holds dates, and one is {shown!r}. {DATE_CURE}")
    return bool(is_dates)


def numbers(con: duckdb.DuckDBPyConnection, path: Path, column: str, kind: str, part: str) -> Vector:
    """A column's numbers, NaN for null.

    Raises:
        CausalFileError: it holds something else, or infinity.
    """
    name = quoted(column)
    where = f"{path}, column {column}"
    if _is_words(kind):
        bad = con.execute(
            f"SELECT {name}::VARCHAR FROM used WHERE try_cast({name} AS DOUBLE) IS NULL AND {name} IS NOT NULL "
            "ORDER BY place LIMIT 1"
        ).fetchone()
        told = repr(bad[0]) if bad else "words"
        raise CausalFileError(f"{where}: it holds {told}, and the {part} is a number. Write 0 and 1 for a yes or no.")
    if _is_time(kind) and part != "covariate":
        raise CausalFileError(f"{where}: it holds dates, and the {part} is a number. Write the days between.")
    value = f"epoch({name}) / 86400" if _is_time(kind) else f"CAST({name} AS DOUBLE)"
    try:
        found = con.execute(f"SELECT {value} AS value FROM used ORDER BY place").fetchnumpy()["value"]
    except duckdb.Error:
        raise CausalFileError(f"{where}: it holds {kind}, which is no number, date or word. Leave it out.") from None
    values = np.ma.filled(np.ma.asarray(found, dtype=np.float64), np.nan)
    if np.isinf(values).any():
        raise CausalFileError(f"{where}: it holds an infinite value. Write a number, or leave it empty.")
    filled: Vector = np.asarray(values, dtype=np.float64)
    if reason := out_of_range(filled):
        raise CausalFileError(f"{where}: {reason}")
    return filled


def word(value: Any) -> str:
    """What a value is called where words are compared; a null is `empty`."""
    if value is None:
        return "empty"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _fetch(con: duckdb.DuckDBPyConnection, asked: Asked, types: Mapping[str, str]) -> tuple[int, dict[str, int]]:
    """Make the table `used` of the rows that count, each with its `place`; how many they are, and of how many."""
    told = [_is_given(name, types[name]) for name in (asked.treatment, asked.outcome)]
    (rows,) = con.execute("SELECT count(*) FROM whole").fetchone() or (0,)
    con.execute(
        f"CREATE TABLE used AS SELECT *, row_number() OVER (ORDER BY line) AS place FROM "
        f"(SELECT *, rowid AS line FROM whole WHERE {' AND '.join(told)} ORDER BY hash(rowid), rowid LIMIT {MOST_ROWS})"
    )
    (used,) = con.execute("SELECT count(*) FROM used").fetchone() or (0,)
    (kept,) = con.execute(f"SELECT count(*) FROM whole WHERE {' AND '.join(told)}").fetchone() or (0,)
    return used, {"rows": rows, "dropped": rows - kept}


def _column(con: duckdb.DuckDBPyConnection, value: str) -> list[Any]:
    """The value of an expression in each row that counts, in the order of the file."""
    return [row[0] for row in con.execute(f"SELECT {value} FROM used ORDER BY place").fetchall()]


def _is_given(name: str, kind: str) -> str:
    """SQL: the value is neither null nor NaN."""
    known = f"{quoted(name)} IS NOT NULL"
    return f"{known} AND NOT isnan({quoted(name)})" if kind in ("DOUBLE", "FLOAT") else known


def _clusters(con: duckdb.DuckDBPyConnection, path: Path, column: str) -> Labels:
    name = quoted(column)
    if con.execute(f"SELECT 1 FROM used WHERE {name} IS NULL LIMIT 1").fetchone():
        raise CausalFileError(f"{path}, column {column}: it is empty in some rows. Name the cluster of each row.")
    found = con.execute(f"SELECT dense_rank() OVER (ORDER BY {name}) AS code, place FROM used ORDER BY place")
    codes: Labels = np.asarray(found.fetchnumpy()["code"], dtype=np.int64)
    return codes


def _codes(study: Study, kind: Kind, types: Mapping[str, str]) -> list[str]:
    """The confounders of whole numbers that are no amounts, and leave a bias where they are taken for some."""
    whole = [
        name
        for name, column in zip(study.confounders.names, study.confounders.values.T, strict=True)
        if _is_number(types.get(name, "")) and np.all(np.isnan(column) | (column == np.floor(column)))
    ]
    gaps = {name: code_gap(study, kind, name) for name in whole}
    return [name for name, gap in gaps.items() if gap is not None and gap.moves > gap.may_move]


def _covariates(coded: Mapping[str, Covariate], columns: Sequence[str], rows: int) -> Covariates:
    """The columns that came of some of the covariates."""
    merged = {name: values for column in dict.fromkeys(columns) for name, values in coded[column].columns.items()}
    return Covariates(tuple(merged), np.column_stack([np.empty((rows, 0)), *merged.values()]))


def _control(where: str, wanted: str | None, words: list[str]) -> str:
    """The level that the others are compared with: the one named, one that is called so, or the first."""
    if wanted is not None:
        if wanted not in words:
            raise CausalFileError(f"{where}: no row has {wanted!r}; the levels are {', '.join(words)}.")
        return wanted
    called = [word for word in words if CONTROL.match(word)]
    return called[0] if called else words[0]


def _is_number(kind: str) -> bool:
    return kind in (*WHOLE_TYPES, "DOUBLE", "FLOAT") or kind.startswith("DECIMAL")


def _is_words(kind: str) -> bool:
    return kind.startswith(WORD_TYPES)


def _is_time(kind: str) -> bool:
    return kind.startswith(TIME_TYPES)
