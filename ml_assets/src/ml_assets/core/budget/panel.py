"""The panel of a shop's paid channels: what was spent on each day, what was ordered, and what else moved demand.

Rows and columns only. Responses are estimated in `response`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

import duckdb
import numpy as np
import numpy.typing as npt

from ml_assets.core.features.customers import Marts
from ml_assets.core.models.errors import NotEnoughData

MARTS = ("fct_marketing_spend", "fct_orders", "agg_daily_sales", "dim_dates")
CAMPAIGNS_MART = "dim_campaigns"
CAMPAIGN_DAYS = (0, 3, 7, 14)
"""An unpaid campaign, e.g. an e-mail, moves demand for so long, and differently in each of these stretches."""
MOST_CAMPAIGNS = 40
SALE_FROM = 1.75
"""A day's discounts are a sale from so many times the usual on."""
HARMONICS = 3
FEWEST_CREDITED = 100
"""Orders that must be credited to a channel to be its witness."""

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The days of `dates`, one after the other.

    `spend` (channels, days) in the shop's currency; `credited` (channels, days) the orders whose last touch was the
    channel and `other` (days) all others; orders of a campaign that costs no spend, e.g. an e-mail, are in neither.
    `controls` (days, any number): what else moves demand, around 0. `revenue_of_order` and `margin_rate` are of all
    orders of these days: the mean total, and what is left of it after the cost of goods, None where no cost is known.
    """

    channels: tuple[str, ...]
    dates: tuple[date, ...]
    spend: Matrix
    credited: Matrix
    other: Vector
    controls: Matrix
    revenue_of_order: float
    margin_rate: float | None

    @property
    def end(self) -> date:
        """The day after the last."""
        return self.dates[-1] + timedelta(days=1)

    @property
    def orders(self) -> Vector:
        """All orders of each day."""
        found: Vector = self.credited.sum(axis=0) + self.other
        return found

    @property
    def is_credited(self) -> npt.NDArray[np.bool_]:
        """Which channels are told by the orders that are credited to them."""
        found: npt.NDArray[np.bool_] = self.credited.sum(axis=1) >= FEWEST_CREDITED
        return found

    def without_credit(self) -> Panel:
        """The same days as a shop knows them that does not record what led to its orders."""
        return replace(self, credited=np.zeros_like(self.credited), other=self.orders)


def channel_panel(con: duckdb.DuckDBPyConnection, marts: Marts) -> Panel:
    """The panel of all days from the first to the last on which there were both spend and orders.

    Raises:
        NotEnoughData: nothing was spent, or nothing ordered.
    """
    dates = _days(con, marts)
    spend = _counted(con, _SPEND.format(**marts), dates)
    channels = tuple(sorted(name for name, daily in spend.items() if daily.sum() > 0))
    orders = _counted(con, _ORDERS.format(**marts), dates)
    nothing = np.zeros(len(dates))
    sales = con.execute(_SALES.format(**marts), _between(dates)).fetchnumpy()
    counted, revenue, margin, costed = con.execute(_MONEY.format(**marts), _between(dates)).fetchall()[0]
    return Panel(
        channels=channels,
        dates=dates,
        spend=np.array([spend[name] for name in channels]),
        credited=np.array([orders.get(name, nothing) for name in channels]),
        other=sum((daily for name, daily in orders.items() if name not in channels), nothing),
        controls=controls(
            dates, np.asarray(sales["discount"]), np.asarray(sales["holiday"]), _unpaid_campaigns(con, marts, dates)
        ),
        revenue_of_order=revenue / counted,
        margin_rate=margin / costed if costed else None,
    )


_DAYS = """
    SELECT greatest(s.first, o.first), least(s.last, o.last)
    FROM (
        SELECT min(spend_date) AS first, max(spend_date) AS last FROM ({fct_marketing_spend})
        WHERE spend_amount > 0 AND channel IS NOT NULL
    ) s, (
        SELECT min(order_date) AS first, max(order_date) AS last FROM ({agg_daily_sales}) WHERE orders_count > 0
    ) o"""
_SPEND = """
    SELECT channel, spend_date, sum(spend_amount)::DOUBLE FROM ({fct_marketing_spend})
    WHERE spend_date BETWEEN $first AND $last AND channel IS NOT NULL GROUP BY ALL"""
_ORDERS = """
    SELECT coalesce(channel, ''), order_date, count(*)::DOUBLE FROM ({fct_orders})
    WHERE NOT is_cancelled AND order_date BETWEEN $first AND $last
        AND (campaign_id IS NULL OR campaign_id IN (SELECT campaign_id FROM ({fct_marketing_spend})))
    GROUP BY ALL"""
_SALES = """
    SELECT coalesce(discount_amount / nullif(gross_amount, 0), 0)::DOUBLE AS discount,
        coalesce(is_holiday, false)::DOUBLE AS holiday
    FROM ({dim_dates}) LEFT JOIN ({agg_daily_sales}) ON order_date = date_day
    WHERE date_day BETWEEN $first AND $last ORDER BY date_day"""
_MONEY = """
    SELECT sum(orders_count)::DOUBLE, sum(revenue_amount)::DOUBLE, sum(margin_amount)::DOUBLE,
        (sum(revenue_amount) FILTER (margin_amount IS NOT NULL))::DOUBLE
    FROM ({agg_daily_sales}) WHERE order_date BETWEEN $first AND $last"""
_CAMPAIGNS = """
    SELECT DISTINCT started_at::DATE FROM ({dim_campaigns})
    WHERE campaign_id NOT IN (SELECT campaign_id FROM ({fct_marketing_spend}) WHERE campaign_id IS NOT NULL)
        AND started_at::DATE BETWEEN $first::DATE - 13 AND $last
    ORDER BY 1 DESC"""


def _days(con: duckdb.DuckDBPyConnection, marts: Marts) -> tuple[date, ...]:
    first, last = con.execute(_DAYS.format(**marts)).fetchall()[0]
    if first is None or last is None or first > last:
        raise NotEnoughData("there is no day with both spend on a paid channel and orders")
    return tuple(first + timedelta(days=at) for at in range((last - first).days + 1))


def _between(dates: tuple[date, ...]) -> dict[str, date]:
    return {"first": dates[0], "last": dates[-1]}


def _counted(con: duckdb.DuckDBPyConnection, sql: str, dates: tuple[date, ...]) -> dict[str, Vector]:
    """A number for each day by channel."""
    found: dict[str, Vector] = {}
    for channel, day, number in con.execute(sql, _between(dates)).fetchall():
        found.setdefault(channel, np.zeros(len(dates)))[(day - dates[0]).days] += number
    return found


def _unpaid_campaigns(con: duckdb.DuckDBPyConnection, marts: Marts, dates: tuple[date, ...]) -> list[date]:
    """When campaigns began that nothing is spent on day by day, e.g. e-mails; the latest first."""
    if CAMPAIGNS_MART not in marts:
        return []
    return [row[0] for row in con.execute(_CAMPAIGNS.format(**marts), _between(dates)).fetchall()]


def controls(dates: tuple[date, ...], discounts: Vector, holidays: Vector, campaigns: list[date]) -> Matrix:
    """What moves demand and is no paid channel, a column each, around 0: week, year, sales, holidays, campaigns.

    `discounts` are each day's share of what was ordered. A sale is seen by it: its median of three days, when high.
    """
    weekday = np.array([day.weekday() for day in dates])
    year = 2 * np.pi * np.array([day.timetuple().tm_yday for day in dates]) / 365.25
    padded = np.concatenate([discounts[:1], discounts, discounts[-1:]])
    smooth = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    usual = float(np.median(discounts))
    sale = np.maximum(smooth - SALE_FROM * usual, 0.0) * 10
    day = np.array([(one - dates[0]).days for one in dates])
    stretches = [
        ((day - (start - dates[0]).days >= since) & (day - (start - dates[0]).days < until)).astype(np.float64)
        for start in campaigns[:MOST_CAMPAIGNS]
        for since, until in pairwise(CAMPAIGN_DAYS)
    ]
    columns = [
        *((weekday == number).astype(np.float64) - 1 / 7 for number in range(6)),
        *(wave(turn * year) for turn in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)),
        sale,
        sale**2,
        holidays,
        *stretches,
    ]
    found: Matrix = np.column_stack([column for column in columns if column.std() > 0])
    return found
