"""A panel as a matrix of units by periods, with the period in which each unit was first treated.

How an effect is found in it is the business of `did` and `synthetic_control`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_assets.core.causal.study import Labels, Matrix, Vector

NEVER = np.iinfo(np.int64).max
"""The adoption of a unit that was never treated: after every period."""


class PanelError(ValueError):
    """The rows are no panel that can be compared. The message names what is wrong, where, and the cure."""


@dataclass(frozen=True)
class Panel:
    """Each unit once in each period.

    `outcome` is (units, periods); `adoption` the place of the first treated period of each unit, `NEVER` for none;
    `clusters` tells units that depend on each other (each its own unless given). `units` and `times` are what the
    rows and columns are called. `left_out` counts units that were treated from the first period on: nothing is known
    of them without the treatment.
    """

    units: tuple[Any, ...]
    times: tuple[Any, ...]
    outcome: Matrix
    adoption: Labels
    clusters: Labels
    left_out: int = 0

    def of(self, units: Any) -> Panel:
        """Some of the units."""
        names = np.array(self.units, dtype=object)[units]
        return Panel(
            tuple(names), self.times, self.outcome[units], self.adoption[units], self.clusters[units], self.left_out
        )

    @property
    def treated(self) -> Any:
        """Whether each unit is ever treated."""
        return self.adoption < len(self.times)


def panel(
    units: Sequence[Any],
    times: Sequence[Any],
    outcome: Sequence[float] | Vector,
    treated: Sequence[Any] | Vector,
    clusters: Sequence[Any] | None = None,
) -> Panel:
    """The panel of rows: a unit, a period, its outcome, whether it was treated (0 or 1), and what it depends with.

    Raises:
        PanelError: a value is no number, a unit has a period twice or lacks one, the treatment of one ends, its
            cluster changes, or no unit is treated or none is left to compare with.
    """
    values, status = np.asarray(outcome, dtype=np.float64), np.asarray(treated, dtype=np.float64)
    names, unit = np.unique(np.asarray(units), return_inverse=True)
    periods, period = np.unique(np.asarray(times), return_inverse=True)
    if len(values) == 0:
        raise PanelError("There are no rows. Give one for each unit and period.")
    _refuse(
        ~np.isfinite(values), names[unit], periods[period], "has no outcome that is a number: fill or drop the unit"
    )
    _refuse(~np.isin(status, (0.0, 1.0)), names[unit], periods[period], "has a treatment that is neither 0 nor 1")
    shape = len(names), len(periods)
    counts = np.bincount(unit * shape[1] + period, minlength=shape[0] * shape[1]).reshape(shape)
    for wrong, told in (
        (counts > 1, "has more than one row: add them up first"),
        (counts == 0, "has no row: fill it (0 where nothing happened), or leave the unit out"),
    ):
        where = np.argwhere(wrong)
        if len(where):
            raise PanelError(f"Unit {names[where[0, 0]]}, period {periods[where[0, 1]]} {told}.")
    if shape[1] < 3:
        raise PanelError(f"There are {shape[1]} periods, and 3 are needed: two before the treatment, one after it.")
    table, on = np.empty(shape), np.empty(shape)
    table[unit, period], on[unit, period] = values, status
    ends = np.argwhere(np.diff(on, axis=1) < 0)
    if len(ends):
        raise PanelError(
            f"Unit {names[ends[0, 0]]} is no longer treated in period {periods[ends[0, 1] + 1]}. These designs are for "
            "treatments that stay: leave out what comes after the end, or the unit."
        )
    adoption = np.where(on.any(axis=1), on.argmax(axis=1), NEVER)
    groups = np.arange(shape[0]) if clusters is None else _steady(clusters, unit, names)
    always = adoption == 0
    found = Panel(tuple(names.tolist()), tuple(periods.tolist()), table, adoption, groups, int(always.sum())).of(
        ~always
    )
    if not found.treated.any():
        raise PanelError("No unit is untreated first and treated later, so that there is no effect to look for.")
    if not (found.adoption > found.adoption.min()).any():
        raise PanelError("All units are treated at the same time. Add units that were treated later, or never.")
    return found


def _steady(clusters: Sequence[Any], unit: Labels, names: Any) -> Labels:
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].ravel()
    first = np.zeros(len(names), dtype=np.int64)
    first[unit[::-1]] = codes[::-1]
    changes = np.flatnonzero(first[unit] != codes)
    if len(changes):
        raise PanelError(f"Unit {names[unit[changes[0]]]} is in more than one cluster. A unit stays in its cluster.")
    return first


def _refuse(wrong: Any, units: Any, periods: Any, told: str) -> None:
    places = np.flatnonzero(wrong)
    if len(places):
        raise PanelError(f"Unit {units[places[0]]}, period {periods[places[0]]} {told}.")
