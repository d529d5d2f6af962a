"""Panels of paid channels drawn from the simulator's own formulas, without its customers: fast enough for many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.orders import CREDIT, UNCAUSED_CHANNELS
from ecom_assets.simulator.paid import HILL, PAID_CHANNELS, PaidMarketing
from ecom_assets.simulator.streams import Streams
from ml_assets.core.budget.panel import Panel, controls
from ml_assets.core.budget.response import YEAR, Curve

START, END = date(2024, 1, 1), date(2026, 1, 1)
ORDERS_A_DAY = 79.0
"""Of the default shop of 5,000 customers."""
CUSTOMERS = 5_000
REVENUE_OF_ORDER = 56.0
MARGIN_RATE = 0.5
GROWTH = 1.6
"""Orders on the last day for one on the first as customers accumulate: about those of the default shop."""
USUAL_DISCOUNT = 0.042


@dataclass(frozen=True)
class PlantedChannels:
    """A panel and its truth: orders that each channel caused, and its lasting curve. `discounts` are shares by day."""

    panel: Panel
    caused: np.ndarray
    discounts: np.ndarray
    curves: tuple[Curve, ...]

    @property
    def shares(self) -> np.ndarray:
        """Each channel's part of what all caused."""
        return self.caused / self.caused.sum()

    @property
    def returns(self) -> np.ndarray:
        """The revenue that each channel caused for one unit of spend."""
        return self.caused * REVENUE_OF_ORDER / self.panel.spend.sum(axis=1)


def planted_channels(seed: int, *, customers: int = CUSTOMERS, margin_rate: float = MARGIN_RATE) -> PlantedChannels:
    """A shop of `customers` over two years: spend and uplift of the simulator, orders as Poisson counts."""
    config = SimulatorConfig(customers=customers, seed=seed, start=START, end=END)
    paid = PaidMarketing(config, Streams(seed))
    calendar = Calendar(config, paid)
    draw = np.random.default_rng(seed)
    growth = np.geomspace(1.0, GROWTH, calendar.days)
    organic = calendar.weekly * calendar.yearly * calendar.trend * calendar.promotion * growth
    organic *= ORDERS_A_DAY * customers / CUSTOMERS / (organic * (1 + calendar.paid.sum(axis=0))).mean()
    caused = draw.poisson(organic * calendar.paid)
    seen = draw.binomial(caused, CREDIT)
    uncaused = draw.poisson(organic * UNCAUSED_CHANNELS[:, None])
    paid_rows = len(PAID_CHANNELS)
    credited = uncaused[:paid_rows] + seen
    other = uncaused[paid_rows:].sum(axis=0) + (caused - seen).sum(axis=0)
    deep = np.zeros(calendar.days)
    for sale in calendar.promotions:
        deep[calendar.days_of(sale)] = sale.discount_pct / 100 * (0.9 if sale.every_category else 0.55)
    discounts = USUAL_DISCOUNT + deep + 0.01 * draw.standard_normal(calendar.days)
    mean = paid.spend_cents.mean(axis=1) / 100
    planned = np.array([channel.daily_spend for channel in PAID_CHANNELS]) * customers
    panel = Panel(
        channels=tuple(channel.name for channel in PAID_CHANNELS),
        dates=tuple(calendar.dates),
        spend=paid.spend_cents / 100,
        credited=credited.astype(np.float64),
        other=other.astype(np.float64),
        controls=controls(tuple(calendar.dates), discounts, np.zeros(calendar.days), []),
        revenue_of_order=REVENUE_OF_ORDER,
        margin_rate=margin_rate,
    )
    curves = tuple(
        Curve(
            float(organic[-YEAR:].mean() * c.uplift),
            c.half_saturation * planned[row] / mean[row],
            HILL,
            float(mean[row]),
        )
        for row, c in enumerate(PAID_CHANNELS)
    )
    return PlantedChannels(panel, caused.sum(axis=1), discounts, curves)
