"""Customer lifetime value on any file of transactions: customer, date, amount.

Customers' orders up to a day are given to the models, and what they did after it is the test. A customer's
transactions of one day are one order, as in the literature.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.bench.files import ROWS, as_date, as_number, filled, read_rows, refuse, refuse_dates, refuse_numbers
from ml_assets.core.evaluation import values
from ml_assets.core.models import bg_nbd, gamma_gamma, order_clock
from ml_assets.core.models.bg_nbd import Vector
from ml_assets.core.models.order_clock import OrderDays, Spans

COLUMNS = ("customer", "date", "amount")
FORMAT = "Columns: customer, date (2026-01-31), amount; a row for each transaction."
FEWEST_CUSTOMERS = 50
"""With fewer customers who came back, or fewer with anything to predict, parameters mean nothing."""


class Transactions(NamedTuple):
    """Orders: one for each customer and day with what was spent; `customer` counts from 0, day 0 is `start`."""

    start: date
    orders: OrderDays
    amount: Vector


def read(path: Path) -> Transactions:
    """The transactions of a CSV or Parquet file with the columns customer, date (or time) and amount.

    Raises:
        BenchDataError: the file is not there, lacks a column, or holds a value that is none; the message says where.
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        read_rows(con, path, COLUMNS, FORMAT)
        refuse(con, path, "customer", f"NOT {filled('customer')}", "Name the customer in each row.")
        refuse_dates(con, path, "date")
        refuse_numbers(con, path, "amount", "Write a number.", may_be_empty=False)
        found = con.execute(
            f"""
            WITH orders AS (
                SELECT CAST(customer AS VARCHAR) AS customer, {as_date("date")} AS day,
                    sum({as_number("amount")}) AS amount
                FROM {ROWS} GROUP BY ALL
            )
            SELECT dense_rank() OVER (ORDER BY customer) - 1 AS customer, amount,
                date_diff('day', min(day) OVER (), day) AS day, min(day) OVER () AS start
            FROM orders ORDER BY customer, day"""
        ).to_arrow_table()
    if not len(found):
        raise BenchDataError(f"{path} holds no transaction. {FORMAT}")
    orders = OrderDays(found["customer"].to_numpy(), found["day"].to_numpy())
    return Transactions(found["start"][0].as_py(), orders, found["amount"].to_numpy())


def bench(path: Path, *, calibration_end: date | None = None, unit_days: float = 7) -> dict[str, Any]:
    """Fit on the orders up to `calibration_end` (by default the middle of the dates), predict those after it.

    What the command prints; rates are per `unit_days` days, amounts in the file's currency. Where amounts have no mean
    that could be expected, its notes say so, and spend is predicted by the baselines alone.

    Raises:
        BenchDataError: the file cannot be used, or has too little on either side of that day.
    """
    data = read(path)
    end = data.start + timedelta(days=int(data.orders.day.max()))
    last = calibration_end or data.start + (end - data.start) / 2
    today = (last - data.start).days + 1
    holdout = int(data.orders.day.max()) + 1 - today
    known = data.orders.before(today)
    span = order_clock.spans(known)
    _require_enough(path, data, span, last, end)
    future = data.orders.day >= today
    spent = _sums(span, data.orders.customer, data.amount)
    actual_orders = _sums(span, data.orders.customer, future.astype(np.float64))
    actual_spend = _sums(span, data.orders.customer, np.where(future, data.amount, 0.0))
    known_spend = spent - actual_spend

    plain = bg_nbd.fit(_in_units(span, today - 1, unit_days))
    expected = {"bg_nbd": bg_nbd.expected_orders(plain, _in_units(span, today - 1, unit_days), holdout / unit_days)}
    clock, seasonal = order_clock.fit(data.orders, today, today + holdout)
    if today >= order_clock.YEAR:
        passes = clock.at(np.array([today, today + holdout]))
        histories = order_clock.histories(span, clock, today)
        expected["bg_nbd_seasonal"] = bg_nbd.expected_orders(seasonal, histories, float(passes[1] - passes[0]))

    repeats, mean_spend = _repeat_spend(span, data, today)
    spend, worth, notes = _worth(repeats, mean_spend)

    last_period = (known.day >= today - holdout).astype(np.float64)
    known_amount = data.amount[data.orders.day < today]
    rate = holdout / np.maximum(today - span.first, 1)
    orders = expected | {
        "own_rate": span.order_days * rate,
        "last_period": _sums(span, known.customer, last_period),
    }
    amounts = {name: value * worth for name, value in expected.items() if worth is not None} | {
        "own_rate": known_spend * rate,
        "last_period": _sums(span, known.customer, known_amount * last_period),
    }
    return {
        "benchmark": "clv",
        "data": {
            "file": path.name,
            "customers": len(span.customer),
            "repeat_customers": int((span.order_days > 1).sum()),
            "orders": len(data.amount),
            "first_date": str(data.start),
            "calibration_end": str(last),
            "last_date": str(end),
            "holdout_days": holdout,
            "customers_after_calibration_left_out": len(np.unique(data.orders.customer)) - len(span.customer),
        },
        "parameters": {
            "unit_days": unit_days,
            "bg_nbd": plain._asdict()
            | {"log_likelihood": bg_nbd.log_likelihood(plain, _in_units(span, today - 1, unit_days))},
            "gamma_gamma": spend._asdict() | {"mean_spend": spend.mean} if spend else None,
        },
        "notes": notes,
        "orders": {name: _scores(actual_orders, value) for name, value in orders.items()},
        "spend": {name: _scores(actual_spend, value) for name, value in amounts.items()},
    }


def _require_enough(path: Path, data: Transactions, span: Spans, last: date, end: date) -> None:
    if not data.start <= last < end:
        raise BenchDataError(
            f"{path} has transactions from {data.start} to {end}: the calibration cannot end on {last}. Choose an "
            f"earlier --calibration-end, with days after it to predict."
        )
    back = int((span.order_days > 1).sum())
    if back < FEWEST_CUSTOMERS:
        raise BenchDataError(
            f"{path}: {back} of {len(span.customer)} customers ordered on two days or more up to {last}, and "
            f"{FEWEST_CUSTOMERS} are needed. Give more data or a later --calibration-end."
        )


def _in_units(span: Spans, end: int, unit_days: float) -> bg_nbd.Histories:
    """The histories up to and including day `end`, in the unit asked for, as the literature counts them."""
    first = span.first.astype(np.float64)
    repeats = span.order_days.astype(np.float64) - 1
    return bg_nbd.Histories(repeats, (span.last - first) / unit_days, (end - first) / unit_days)


def _repeat_spend(span: Spans, data: Transactions, today: int) -> tuple[Vector, Vector]:
    """The number of repeat orders of each customer, and their mean amount: the first order is not among them."""
    known = data.orders.day < today
    customer, day, amount = data.orders.customer[known], data.orders.day[known], data.amount[known]
    position = np.searchsorted(span.customer, customer)
    repeated = day > span.first[position]
    total = np.bincount(position[repeated], weights=amount[repeated], minlength=len(span.customer))
    repeats = span.order_days.astype(np.float64) - 1
    return repeats, (total / np.maximum(repeats, 1)).astype(np.float64)


def _worth(repeats: Vector, mean_spend: Vector) -> tuple[gamma_gamma.Parameters | None, Vector | None, list[str]]:
    """Gamma-Gamma of those whose repeat orders were worth something, the worth of an order by it, and what lacks."""
    positive = (repeats > 0) & (mean_spend > 0)
    refunded = int(((repeats > 0) & (mean_spend < 0)).sum())
    notes = (
        [f"Of {refunded} customers the repeat orders sum up to less than 0: they tell no worth."] if refunded else []
    )
    try:
        spend = gamma_gamma.fit(repeats[positive], mean_spend[positive])
    except gamma_gamma.NoMeanSpend as reason:
        return None, None, [*notes, f"{reason} What they will spend is not predicted."]
    return spend, gamma_gamma.expected_spend(spend, np.where(positive, repeats, 0.0), mean_spend), notes


def _sums(span: Spans, customer: order_clock.Days, value: Vector) -> Vector:
    """The sum of `value` for each customer of `span`."""
    totals = np.bincount(customer, weights=value, minlength=int(span.customer.max()) + 1)
    return totals[span.customer].astype(np.float64)


def _scores(actual: Vector, predicted: Vector) -> dict[str, float | None]:
    found = values.evaluate(actual, predicted)
    return {
        "predicted": found.predicted,
        "actual": found.actual,
        "total_ratio": found.total_ratio if found.actual else None,
        "mae": found.mae,
        "normalised_gini": found.gini,
    }
