"""A panel: the quantities of many series on one grid of periods, what was not observed, and regressors known ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]
Absent = Literal["zero", "unknown"]
"""What it means that the data have no row for a series and period: nobody asked for it, or nobody counted."""


class Frequency(NamedTuple):
    """A spacing of periods: `season` periods make a season, `year` a year; `horizon` is what is usual to look ahead.

    `windows` are the lengths, in periods, of the averages that a model looks at, the second being what counts as
    recent; a series that was not on offer for `ended` periods has ended.
    """

    name: str
    season: int
    year: int
    horizon: int
    windows: tuple[int, int, int]
    ended: int


DAILY = Frequency("daily", 7, 364, 14, (7, 28, 91), 28)
WEEKLY = Frequency("weekly", 52, 52, 8, (4, 13, 26), 13)
MONTHLY = Frequency("monthly", 12, 12, 6, (3, 6, 12), 12)


@dataclass(frozen=True)
class Panel:
    """Series × periods. `quantity` is NaN where demand was not observed: not on offer, out of stock, closed, or ahead.

    `regressors` are known for all periods, also for those ahead; NaN where they are not. `offered` tells for each
    series and period whether the series was on offer, in stock or not: it has begun, and has not ended.
    """

    frequency: Frequency
    series: tuple[str, ...]
    dates: Dates
    quantity: Matrix
    offered: npt.NDArray[np.bool_]
    regressors: Mapping[str, Matrix]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together and negative quantities.

        Raises:
            ValueError: which of them, and its shape.
        """
        shape = (len(self.series), len(self.dates))
        for name, values in {"quantity": self.quantity, "offered": self.offered, **self.regressors}.items():
            if values.shape != shape:
                raise ValueError(f"{name} has the shape {values.shape}; series and dates make {shape}.")
        if (self.quantity < 0).any():
            raise ValueError("A quantity is negative. Demand counts what was asked for, returns not deducted.")

    @property
    def periods(self) -> int:
        """How many periods the panel has, ahead ones included."""
        return len(self.dates)

    def until(self, origin: int) -> Panel:
        """What was known when the first `origin` periods were over: later quantities are not, regressors are."""
        known = np.arange(self.periods) < origin
        return replace(self, quantity=np.where(known, self.quantity, np.nan), offered=self.offered & known)

    def ahead(self, periods: int) -> Panel:
        """The panel with so many more periods, in which no quantity and no regressor is known."""
        wide = ((0, 0), (0, periods))
        return replace(
            self,
            dates=np.concatenate([self.dates, following(self.dates, self.frequency, periods)]),
            quantity=np.pad(self.quantity, wide, constant_values=np.nan),
            offered=np.pad(self.offered, wide, constant_values=False),
            regressors={k: np.pad(v, wide, constant_values=np.nan) for k, v in self.regressors.items()},
        )

    def of(self, chosen: npt.NDArray[np.intp]) -> Panel:
        """The panel of the series at the places `chosen`."""
        return replace(
            self,
            series=tuple(self.series[place] for place in chosen),
            quantity=self.quantity[chosen],
            offered=self.offered[chosen],
            regressors={name: values[chosen] for name, values in self.regressors.items()},
        )

    def ended(self, origin: int) -> npt.NDArray[np.bool_]:
        """Which series have begun and have not been on offer in the last `Frequency.ended` periods before `origin`."""
        before = self.offered[:, :origin]
        begun, lately = before.any(axis=1), before[:, -self.frequency.ended :].any(axis=1)
        return np.asarray(begun & ~lately)


def following(dates: Dates, frequency: Frequency, periods: int) -> Dates:
    """The `periods` dates after the last of `dates`."""
    steps = np.arange(1, periods + 1)
    if frequency.name == "monthly":
        last = dates[-1].astype("datetime64[M]")
        ahead = (last + steps).astype("datetime64[D]") + (dates[-1] - last.astype("datetime64[D]"))
    else:
        ahead = dates[-1] + steps * (7 if frequency.name == "weekly" else 1)
    return np.asarray(ahead, "datetime64[D]")


def dense(
    frequency: Frequency,
    dates: Dates,
    series: tuple[str, ...],
    places: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    quantity: Matrix,
    regressors: Mapping[str, Matrix],
    *,
    absent: Absent,
    in_stock: npt.NDArray[np.bool_] | None = None,
) -> Panel:
    """The panel of rows: row i is of the series and date at `places[0][i]` and `places[1][i]`.

    A row with a NaN quantity is ahead: it tells regressors. What was sold while out of stock is not what was asked for,
    so such rows count as not observed. A regressor that a period has no row for keeps its last value, since a row is
    often absent because nothing was sold, and a gap would tell the model so.
    """
    shape = (len(series), len(dates))
    quantities, present = np.full(shape, np.nan), np.zeros(shape, np.bool_)
    observed = ~np.isnan(quantity)
    last = int(places[1][observed].max(initial=-1))
    present[places[0][observed], places[1][observed]] = True
    quantities[places] = quantity
    begun = np.maximum.accumulate(present, axis=1) & (np.arange(shape[1]) <= last)
    if absent == "zero":
        offered = begun
        quantities[offered & ~present] = 0.0
    else:
        offered = begun & np.maximum.accumulate(present[:, ::-1], axis=1)[:, ::-1]
    if in_stock is not None:
        quantities[places[0][~in_stock], places[1][~in_stock]] = np.nan
    known = {}
    for name, column in regressors.items():
        values = np.full(shape, np.nan)
        values[places] = column
        known[name] = _kept(values)
    return Panel(frequency, series, dates, quantities, offered, known)


def _kept(values: Matrix) -> Matrix:
    """`values` with each NaN replaced by the last value before it in its row, if there is one."""
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(values.shape[1])), axis=1)
    kept: Matrix = np.take_along_axis(values, latest, axis=1)
    return kept
