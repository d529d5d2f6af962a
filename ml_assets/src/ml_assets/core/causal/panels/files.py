"""`cartograph causal panel`: a roll-out in any file, by the same designs and tests, as a report.

Reading the file and choosing a design by how many units were treated. What is estimated is the business of `did` and
`synthetic_control`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np

from ml_assets.core.bench.files import ROWS, as_number, is_no_number, out_of_range, quoted, read_rows, refuse
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.panels.did import FEWEST_TREATED, assess_did
from ml_assets.core.causal.panels.synthetic_control import assess_synthetic
from ml_assets.core.causal.panels.table import Panel, PanelError, panel
from ml_assets.core.causal.printed import answer, checks, interval, named, number

Method = Literal["did", "synthetic_control"]
FORM = "It needs a row for each unit and period, with the outcome and whether the unit was treated (0 or 1)."
MOST_ROWS = 5_000_000
ASSUMED: dict[Method, str] = {
    "did": "Without the treatment, {outcome} of the treated units would have moved as that of those not yet treated "
    "did (parallel trends); nobody acted on it before it came, and none was touched by that of others.",
    "synthetic_control": "Without the treatment, {outcome} of the treated units would have gone on to follow the mix "
    "of untreated ones that it followed before; nobody acted on it before it came, and none was touched by that of "
    "others.",
}
"""What an answer rests on, and no data can show."""


def report(
    path: Path,
    unit: str,
    time: str,
    outcome: str,
    treated: str,
    cluster: str | None = None,
    method: Method | None = None,
) -> dict[str, Any]:
    """The estimates, tests and verdict of the panel in the file, ready for JSON.

    Without a `method`, fewer than five treated units that were treated at one time get a synthetic control.

    Raises:
        BenchDataError: the file cannot be read, or a value is no number.
        PanelError: its rows are no panel.
    """
    found = read_panel(path, unit, time, outcome, treated, cluster)
    starts = np.unique(found.adoption[found.treated])
    clusters = len(np.unique(found.clusters[found.treated]))
    chosen = method or ("synthetic_control" if clusters < FEWEST_TREATED and len(starts) == 1 else "did")
    shape = {
        "question": f"What did {treated} do to {outcome}, on average over those who got it, from then on?",
        "assumed": ASSUMED[chosen].format(outcome=outcome),
        "units": len(found.units),
        "periods": len(found.times),
        "treated_units": int(found.treated.sum()),
        "first_treated": {str(found.times[start]): int((found.adoption == start).sum()) for start in starts.tolist()},
    }
    return {"method": chosen, **shape, **(_did(found) if chosen == "did" else _synthetic(found))}


def read_panel(path: Path, unit: str, time: str, outcome: str, treated: str, cluster: str | None = None) -> Panel:
    """The panel in a file. Periods are in the order of their values: numbers, or ISO dates as 2024-01-31 or 2024-01.

    Raises:
        BenchDataError: the file cannot be read, a value is no number, or a period neither number nor date.
        PanelError: its rows are no panel.
    """
    named = [unit, time, outcome, treated, *([] if cluster is None else [cluster])]
    if len(set(named)) < len(named):
        raise PanelError(f"A column has two parts: {', '.join(named)}. Give each part a column of its own.")
    with duckdb.connect() as con:
        read_rows(con, path, named, FORM)
        for name in (outcome, treated):
            refuse(con, path, name, is_no_number(name), "It must be a number.")
        for name in (unit, time):
            refuse(con, path, name, f"{quoted(name)} IS NULL", "It must not be empty.")
        is_number = con.execute(f"SELECT count(*) = count({as_number(time)}) FROM {ROWS}").fetchone()
        ordered = as_number(time)
        if not (is_number and is_number[0]):
            ordered = f"CAST({quoted(time)} AS VARCHAR)"
            cure = "Periods go by it in order: write each as a number, or each as a date such as 2024-01-31."
            refuse(con, path, time, _is_no_date(ordered), cure)
        columns = {
            "unit": f"CAST({quoted(unit)} AS VARCHAR)",
            "time": ordered,
            "outcome": as_number(outcome),
            "treated": as_number(treated),
            "cluster": f"CAST({quoted(cluster)} AS VARCHAR)" if cluster else "NULL::VARCHAR",
        }
        chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        rows = con.execute(f"SELECT {chosen} FROM {ROWS}").fetch_arrow_table()
    if len(rows) > MOST_ROWS:
        raise PanelError(f"There are {len(rows):,} rows, and {MOST_ROWS:,} can be taken. Add periods up, or units.")
    values = {name: rows[name].to_numpy(zero_copy_only=False) for name in ("unit", "time", "outcome", "treated")}
    if np.issubdtype(values["time"].dtype, np.floating) and (values["time"] % 1 == 0).all():
        values["time"] = values["time"].astype(np.int64)
    if told := out_of_range(values["outcome"]):
        raise PanelError(f"{path}, column {outcome}: {told}")
    if len(rows) and np.ptp(values["outcome"]) == 0:
        raise PanelError(f"{path}, column {outcome}: it is {values['outcome'][0]:g} in each row. An outcome varies.")
    clusters = rows["cluster"].to_numpy(zero_copy_only=False).astype(str) if cluster else None
    return panel(values["unit"].astype(str), values["time"], values["outcome"], values["treated"], clusters)


def _is_no_date(text: str) -> str:
    """SQL: the text is no ISO date, month, week or quarter, whose order is that of time."""
    is_day = f"regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}.*') "
    is_day += f" AND try_cast({text} AS TIMESTAMP) IS NOT NULL"
    is_longer = f"regexp_full_match({text}, '[0-9]{{4}}-(0[1-9]|1[0-2]|W[0-5][0-9]|Q[1-4])')"
    return f"NOT (({is_day}) OR {is_longer})"


def _did(found: Panel) -> dict[str, Any]:
    told = assess_did(found)
    names = [str(time) for time in found.times]
    return {
        **_finding(told.finding),
        "pre_trend_p": number(told.pre_trend_p),
        "events": [{name: number(value) for name, value in event._asdict().items()} for event in told.events],
        "group_times": [
            {"group": names[cell.group], "time": names[cell.time], "effect": cell.effect, "error": number(cell.error)}
            for cell in told.group_times
        ],
    }


def _synthetic(found: Panel) -> dict[str, Any]:
    told = assess_synthetic(found)
    paths = zip(told.times, told.actual, told.synthetic, strict=False)
    return {
        **_finding(told.finding),
        "p": number(told.p),
        "weights": dict(told.weights),
        "path": [{"time": str(time), "actual": actual, "synthetic": mixed} for time, actual, mixed in paths],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "verdict": found.verdict,
        "answer": answer(found),
        "naive": None if found.naive is None else interval(found.naive),
        "estimates": [named(one) for one in found.estimates],
        "checks": checks(found.gates),
        "warnings": list(found.warnings),
    }
