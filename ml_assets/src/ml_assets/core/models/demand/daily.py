"""From the table `features.daily_demand` to a panel: which days count as demand, which as unknown, which as gone.

Of the days ahead, the calendar's holidays are known. No mart knows prices, discounts or promotions ahead: none is used.

The panel's own rules are in `panel`; how the rows come about, in `ml_assets.core.features.daily_demand`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from ml_assets.core.features.customers import Marts
from ml_assets.core.models.demand.features import Vector
from ml_assets.core.models.demand.panel import DAILY, Matrix, Panel
from ml_assets.core.models.errors import NotEnoughData

TABLES = ("daily_demand", "dim_dates")
INPUTS = ("ordered_units", "was_available")
"""What a forecast takes of the table of daily demand; of the calendar it takes `HOLIDAY`."""
HOLIDAY = "is_holiday"
UNSOLD_DAYS = 91
"""A product whose stock nobody counts, and that nobody has ordered for so many days, is no longer on offer."""
COUNT_HOLDS_DAYS = 7
"""A count of stock tells of so many days."""


class Demand(NamedTuple):
    """The panel of all products, the place of the first day that is not known, and each product's stock.

    `stock` is NaN where none was counted in the last `COUNT_HOLDS_DAYS` days before the origin.
    """

    panel: Panel
    origin: int
    stock: Vector


def read(con: duckdb.DuckDBPyConnection, tables: Marts, as_of: date, horizon: int) -> Demand:
    """The days before `as_of`, and `horizon` days ahead; `tables` holds a DuckDB SELECT for each of `TABLES`.

    A day without a row is one without demand while a product is on offer: from its first row on, and up to the last
    row of a product whose stock is counted, since what is on offer is counted.

    Raises:
        NotEnoughData: nothing was ordered before `as_of`.
    """
    rows = con.execute(
        f"""
        SELECT dense_rank() OVER (ORDER BY product_id) - 1 AS place, product_id, demand_date, ordered_units::DOUBLE
            AS units, coalesce(stock_units, 'nan'::DOUBLE) AS stock, coalesce(was_available, 1) = 1 AS available
        FROM ({tables["daily_demand"]}) WHERE demand_date < $as_of ORDER BY product_id, demand_date""",
        {"as_of": as_of},
    ).to_arrow_table()
    if not len(rows):
        raise NotEnoughData(f"Nothing was ordered before {as_of}: there is no demand to forecast. Load orders.")
    place, days = rows["place"].to_numpy(), rows["demand_date"].to_numpy().astype("datetime64[D]")
    dates = np.arange(days.min(), np.datetime64(as_of))
    day = (days - dates[0]).astype(np.intp)
    products, begins, sizes = np.unique(place, return_index=True, return_counts=True)
    shape = (len(products), len(dates))

    units, stock, present, available = (np.full(shape, empty) for empty in (0.0, np.nan, False, True))
    for values, column in ((units, "units"), (stock, "stock"), (available, "available")):
        values[place, day] = rows[column].to_numpy(zero_copy_only=False)
    present[place, day] = True
    last = day[begins + sizes - 1] + np.where(np.isnan(stock).all(axis=1), UNSOLD_DAYS, 0)
    offered = np.maximum.accumulate(present, axis=1) & (np.arange(len(dates)) <= last[:, None])
    quantity = np.where(offered & available, units, np.nan)
    names = tuple(rows["product_id"].take(pa.array(begins)).to_pylist())
    panel = Panel(DAILY, names, dates, quantity, offered, {}).ahead(horizon)
    holidays = con.execute(f"SELECT date_day FROM ({tables['dim_dates']}) WHERE {HOLIDAY}").fetchall()
    is_holiday = np.isin(panel.dates, np.array([row[0] for row in holidays], "datetime64[D]")).astype(np.float64)
    known = {HOLIDAY: np.tile(is_holiday, (len(products), 1))}
    return Demand(replace(panel, regressors=known), len(dates), _latest(stock[:, -COUNT_HOLDS_DAYS:]))


def _latest(values: Matrix) -> Vector:
    """The last known value of each row; NaN where none is known."""
    known = ~np.isnan(values)
    last = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), values[np.arange(len(values)), last], np.nan)
