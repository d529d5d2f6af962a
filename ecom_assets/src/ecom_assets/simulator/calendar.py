"""How busy the shop is at each moment: week, year, trend, promotions and paid marketing, and the clock they drive.

Demand runs on an operational clock: one unit is a day of average business, so a Poisson process of constant rate on
the clock is the seasonal process in real time (Cinlar 1975, time change). Seasons of a category are in `catalog`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from ecom_assets.simulator.columns import DAY, HOUR
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.paid import PaidMarketing
from ecom_assets.simulator.streams import Floats, Ints

WEEKLY = np.array([1.08, 1.00, 0.96, 0.95, 0.93, 0.93, 1.15])
TREND_PER_YEAR = 0.08
HOURLY = np.array(
    [6, 4, 3, 2, 2, 3, 7, 14, 22, 30, 36, 40, 44, 42, 40, 40, 42, 46, 52, 60, 66, 60, 40, 18], dtype=np.float64
)


@dataclass(frozen=True)
class Promotion:
    """A sale of the whole shop: days `[start, end)`, extra demand `lift` (1 is none), `discount_pct` on a category."""

    name: str
    start: date
    end: date
    lift: float
    discount_pct: int
    every_category: bool


def promotions(start: date, end: date) -> list[Promotion]:
    """The shop's sales that touch `[start, end)`, oldest first."""
    found = []
    for year in range(start.year, end.year + 1):
        first = date(year, 11, 1)
        black_friday = first + timedelta(days=(3 - first.weekday()) % 7 + 22)
        found += [
            Promotion(f"january_sale_{year}", date(year, 1, 2), date(year, 1, 16), 1.12, 15, False),
            Promotion(f"summer_sale_{year}", date(year, 7, 1), date(year, 7, 15), 1.15, 15, False),
            Promotion(f"black_week_{year}", black_friday - timedelta(4), black_friday + timedelta(4), 1.55, 20, True),
        ]
    return [promotion for promotion in found if promotion.start < end and promotion.end > start]


class Calendar:
    """The days of the shop. `start` and `end` are microseconds since 1970; arrays have one entry for each day."""

    def __init__(self, config: SimulatorConfig, paid: PaidMarketing) -> None:
        epoch = date(1970, 1, 1)
        self.days = config.days
        self.start = (config.start - epoch).days * DAY
        self.end = (config.end - epoch).days * DAY
        self.dates = [config.start + timedelta(days=day) for day in range(self.days)]
        day = np.arange(self.days)
        self.day_of_year: Floats = np.array([d.timetuple().tm_yday for d in self.dates], dtype=np.float64)
        self.weekday: Ints = (day + config.start.weekday()) % 7
        self.weekly: Floats = WEEKLY[self.weekday]
        turn = 2 * np.pi / 365.25
        self.yearly: Floats = (
            1 + 0.14 * np.cos(turn * (self.day_of_year - 345)) + 0.05 * np.cos(2 * turn * (self.day_of_year - 345))
        )
        self.trend: Floats = np.exp(TREND_PER_YEAR * day / 365.25)
        self.promotions = promotions(config.start, config.end)
        self.promotion: Floats = np.ones(self.days)
        for sale in self.promotions:
            self.promotion[self.days_of(sale)] *= sale.lift
        self.paid: Floats = paid.uplift
        organic = self.weekly * self.yearly * self.trend * self.promotion
        demand = organic * (1 + self.paid.sum(axis=0))
        self.intensity: Floats = demand / demand.mean()
        self._hours: Floats = np.outer(self.intensity, HOURLY / HOURLY.sum()).ravel()
        self._grid: Floats = np.arange(self.days * 24 + 1, dtype=np.float64) * HOUR
        self._clock: Floats = np.concatenate([[0.0], np.cumsum(self._hours)])

    def days_of(self, sale: Promotion) -> slice:
        """The positions of the sale's days."""
        first = self.dates[0]
        return slice(max(0, (sale.start - first).days), max(0, min(self.days, (sale.end - first).days)))

    def day_of(self, time: Ints) -> Ints:
        """The day's position of each moment; moments outside the shop's dates get the first or last day."""
        return np.clip((time - self.start) // DAY, 0, self.days - 1)

    def day_start(self, day: Ints) -> Ints:
        """The first moment of each day."""
        return self.start + day * DAY

    def clock(self, time: Ints) -> Floats:
        """The operational clock at each moment, in days of average business since the start."""
        values: Floats = np.interp((time - self.start).astype(np.float64), self._grid, self._clock)
        return values

    def moment(self, clock: Floats) -> Ints:
        """The moment at which the operational clock shows `clock`; the inverse of `clock`."""
        values: Floats = np.interp(clock, self._clock, self._grid)
        return np.minimum(self.start + values.astype(np.int64), self.end - 1)

    @property
    def horizon(self) -> float:
        """The operational clock at the end."""
        return float(self._clock[-1])

    def drawn(self, uniform: Floats, decay_days: float, opening: float) -> Ints:
        """Moments drawn from the shop's traffic times `1 + opening * exp(-day / decay_days)`, by inversion."""
        wave = np.repeat(1 + opening * np.exp(-np.arange(self.days) / decay_days), 24)
        below = np.concatenate([[0.0], np.cumsum(self._hours * wave)])
        values: Floats = np.interp(uniform * below[-1], below, self._grid)
        return np.minimum(self.start + values.astype(np.int64), self.end - 1)

    def hour_of_day(self, uniform: Floats) -> Ints:
        """Microseconds since midnight, drawn from the profile of a day."""
        below = np.concatenate([[0.0], np.cumsum(HOURLY / HOURLY.sum())])
        values: Floats = np.interp(uniform, below, np.arange(25.0) * HOUR)
        return np.minimum(values.astype(np.int64), DAY - 1)
