"""The panel of a shop's paid channels: what was spent on each day, what was ordered, and what else moved demand.

Rows and columns only. Responses are estimated in `response`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

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


def channel_panel(con: duckdb.DuckDBPyConnection, marts: Marts, last: date | None = None) -> Panel:
    """The panel of all days from the first to the last on which there were both spend and orders, `last` excluded.

    Raises:
        NotEnoughData: nothing was spent, or nothing ordered.
    """
    until = {"last": last or date.max}
    days = con.execute(
        f"""
        SELECT greatest((SELECT min(spend_date) FROM spend), min(order_date)),
            least((SELECT max(spend_date) FROM spend), max(order_date))
        FROM ({marts["agg_daily_sales"]}), (SELECT 1)
        WHERE orders_count > 0 AND order_date < $last""".replace(
            "FROM spend)", f"FROM ({marts['fct_marketing_spend']}) WHERE spend_amount > 0 AND spend_date < $last)"
        ),
        until,
    ).fetchone()
    first, final = days or (None, None)
    if first is None or final is None or first > final:
        raise NotEnoughData("there is no day with both spend on a paid channel and orders")
    dates = tuple(first + timedelta(days=at) for at in range((final - first).days + 1))
    between = {"first": first, "final": final}
    spent = con.execute(
        f"""
        SELECT channel, spend_date, sum(spend_amount)::DOUBLE FROM ({marts["fct_marketing_spend"]})
        WHERE spend_date BETWEEN $first AND $final AND channel IS NOT NULL GROUP BY ALL""",
        between,
    ).fetchall()
    totals: dict[str, float] = {}
    for channel, _, amount in spent:
        totals[channel] = totals.get(channel, 0.0) + amount
    channels = tuple(sorted(name for name, amount in totals.items() if amount > 0))
    place = {name: row for row, name in enumerate(channels)}
    spend, credited, other = np.zeros((len(channels), len(dates))), np.zeros((len(channels), len(dates))), None
    for channel, day, amount in spent:
        if channel in place:
            spend[place[channel], (day - first).days] = amount
    other = np.zeros(len(dates))
    for channel, day, count in con.execute(
        f"""
        SELECT channel, order_date, count(*) FROM ({marts["fct_orders"]})
        WHERE NOT is_cancelled AND order_date BETWEEN $first AND $final AND (
            campaign_id IS NULL
            OR campaign_id IN (SELECT campaign_id FROM ({marts["fct_marketing_spend"]}))
        ) GROUP BY ALL""",
        between,
    ).fetchall():
        if channel in place:
            credited[place[channel], (day - first).days] = count
        else:
            other[(day - first).days] += count
    sales = con.execute(
        f"""
        SELECT date_day, coalesce(discount_amount / nullif(gross_amount, 0), 0)::DOUBLE AS discount,
            coalesce(is_holiday, false)::DOUBLE AS holiday
        FROM ({marts["dim_dates"]}) LEFT JOIN ({marts["agg_daily_sales"]}) ON order_date = date_day
        WHERE date_day BETWEEN $first AND $final ORDER BY date_day""",
        between,
    ).fetchnumpy()
    orders, revenue, margin, costed = con.execute(
        f"""
        SELECT sum(orders_count)::DOUBLE, sum(revenue_amount)::DOUBLE, sum(margin_amount)::DOUBLE,
            sum(revenue_amount) FILTER (margin_amount IS NOT NULL)::DOUBLE
        FROM ({marts["agg_daily_sales"]}) WHERE order_date BETWEEN $first AND $final""",
        between,
    ).fetchall()[0]
    started = _unpaid_campaigns(con, marts, first, final)
    return Panel(
        channels=channels,
        dates=dates,
        spend=spend,
        credited=credited,
        other=other,
        controls=controls(dates, np.asarray(sales["discount"]), np.asarray(sales["holiday"]), started),
        revenue_of_order=revenue / orders,
        margin_rate=margin / costed if costed else None,
    )


def controls(dates: tuple[date, ...], discounts: Vector, holidays: Vector, campaigns: list[date]) -> Matrix:
    """What moves demand and is no paid channel, a column each, around 0: week, year, sales, holidays, campaigns.

    `discounts` are each day's share of what was ordered. A sale is seen by it: its median of three days, above the usual.
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
        for since, until in zip(CAMPAIGN_DAYS[:-1], CAMPAIGN_DAYS[1:], strict=True)
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


def _unpaid_campaigns(con: duckdb.DuckDBPyConnection, marts: Marts, first: date, final: date) -> list[date]:
    if CAMPAIGNS_MART not in marts:
        return []
    rows = con.execute(
        f"""
        SELECT DISTINCT started_at::DATE FROM ({marts[CAMPAIGNS_MART]})
        WHERE campaign_id NOT IN (SELECT campaign_id FROM ({marts["fct_marketing_spend"]}))
            AND started_at::DATE BETWEEN $first::DATE - 13 AND $final
        ORDER BY 1 DESC""",
        {"first": first, "final": final},
    ).fetchall()
    return [row[0] for row in rows]
