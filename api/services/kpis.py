"""The shop's figures for any range of days: sums of what the release keeps by day, and what is made of two sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cartograph.releases.contents.kpis import Kpi, open_kpis

Grain = Literal["day", "week", "month", "total"]
TOTAL = "total"
_EPOCH = date(1970, 1, 1)
_CENTS = 100
Days = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """A range of days with both ends in it, how it is cut into periods, and the dimension it is split by."""

    first: date
    last: date
    grain: Grain
    dimension: str


@dataclass(frozen=True)
class Figure:
    """A figure of a period and a value of the dimension; None where a ratio has nothing below the line."""

    first: date
    last: date
    value: str
    figure: float | int | None


class _Part(NamedTuple):
    """The rows of one dimension: its values sorted, each row's place in them, its day, and the columns."""

    values: list[str]
    places: Days
    days: Days
    columns: Mapping[str, Days]


class Kpis:
    """The figures of a release from its first day with any to the one before `as_of`, also where nothing was sold.

    Its methods may be called from several threads.
    """

    def __init__(self, kpis: tuple[Kpi, ...], sums: pa.Table, customers: pa.Table, as_of: date) -> None:
        self.kpis = {kpi.name: kpi for kpi in kpis}
        self._sums = _by_dimension(sums)
        self._customers = _by_dimension(customers)
        self.first, self.last = _date(int(self._sums[TOTAL].days.min())), as_of - timedelta(days=1)

    @classmethod
    def load(cls, folder: Path, as_of: date) -> Kpis:
        """Load the figures of the release in `folder`, of the days before `as_of`.

        Raises:
            ContentError: a file is not of the agreed form.
        """
        return cls(*open_kpis(folder), as_of)

    def figures(self, kpi: Kpi, asked: Asked) -> list[Figure]:
        """The figure of each period and of each value that the dimension has, by period and then by value."""
        periods = _periods(asked)
        if not periods:
            return []
        first, sign, second = kpi.parts
        values = self._sums[asked.dimension].values if asked.dimension in self._sums else []
        one = self._summed(first, asked, periods, values)
        other = self._summed(second, asked, periods, values) if second else None
        amounts = kpi.unit == "amount"
        return [
            Figure(*period, value, _made(int(one[at, place]), sign, other, at, place, amounts))
            for at, period in enumerate(periods)
            for place, value in enumerate(values)
        ]

    def _summed(self, column: str, asked: Asked, periods: list[tuple[date, date]], values: list[str]) -> Days:
        """The sum of `column` for each period and value; of `customers`, how many there were."""
        part = (self._customers if column == "customers" else self._sums).get(asked.dimension)
        table = np.zeros((len(periods), len(values)), np.int64)
        if part is None or not len(part.days):
            return table
        starts = np.array([(first - _EPOCH).days for first, _ in periods], np.int64)
        kept = (part.days >= starts[0]) & (part.days <= (periods[-1][1] - _EPOCH).days)
        at = np.searchsorted(starts, part.days, side="right") - 1
        if column == "customers":  # who came back within the period was counted at their first day in it
            kept &= part.columns["previous_date"] < starts[np.maximum(at, 0)]
        place = np.searchsorted(np.array(values), np.array(part.values))[part.places]
        np.add.at(table, (at[kept], place[kept]), part.columns[column][kept])
        return table


def _made(first: int, sign: str | None, other: Days | None, at: int, place: int, is_amount: bool) -> float | int | None:
    if other is None:
        return first / _CENTS if is_amount else first
    second = int(other[at, place])
    if sign == "-":
        return (first - second) / _CENTS
    if not second:
        return None
    return first / second / (_CENTS if is_amount else 1)


def _periods(asked: Asked) -> list[tuple[date, date]]:
    """The first and last day of each period of the range; those at its ends are cut by it."""
    found: list[tuple[date, date]] = []
    start = asked.first
    while start <= asked.last:
        match asked.grain:
            case "day":
                following = start + timedelta(days=1)
            case "week":
                following = start + timedelta(days=7 - start.weekday())
            case "month":
                following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
            case "total":
                following = asked.last + timedelta(days=1)
        found.append((start, min(following - timedelta(days=1), asked.last)))
        start = following
    return found


def _by_dimension(table: pa.Table) -> dict[str, _Part]:
    names = [name for name in table.column_names if name not in {"dimension", "value", "date"}]
    coded = table["dimension"].combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices)
    parts = {}
    for code, dimension in enumerate(coded.dictionary.to_pylist()):
        rows = table.filter(pa.array(codes == code))
        values, places = np.unique(rows["value"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
        parts[dimension] = _Part(
            values=[str(value) for value in values],
            places=np.asarray(places, np.int64),
            days=_days(rows["date"]),
            columns={
                name: _days(rows[name]) if name == "previous_date" else np.asarray(rows[name], np.int64)
                for name in names
            },
        )
    return parts


def _days(column: pa.ChunkedArray) -> Days:
    return np.asarray(column.cast(pa.int32()), np.int64)


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)
