"""Customer lifetime value: what each customer will order in the next year, and what that is worth to the shop.

Expected orders by `bg_nbd` on the shop's `order_clock`, times the expected worth of an order by `gamma_gamma` at the
prices of their days, times what of an order's total the shop keeps. The model, its holdout and its baselines; scores
are in `ml_assets.core.evaluation.values`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cartograph.releases.contents.models import FeatureSpec
from ml_assets.core.evaluation.values import Scores, chance_of_total, evaluate, mean_absolute_error
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import Marts
from ml_assets.core.models import bg_nbd, gamma_gamma, order_clock
from ml_assets.core.models.bg_nbd import Vector
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.order_clock import Clock, OrderDays, Prices, Spans

NAME = "customer_lifetime_value"
HORIZON_DAYS = 365
"""The value is that of the orders in so many days from the as-of date."""
HOLDOUT_DAYS = 180
"""The model is held against what customers spent in so many days."""
SHORTEST_HISTORY_DAYS = 90
USABLE_DAYS = 366
"""A model can be used for as-of dates up to so many days after its own."""
FEWEST_REPEAT_CUSTOMERS = 100
YEARLY_DISCOUNT = 0.10
"""What a euro in a year is worth less than one today; within the year, month by month."""
SETTLING_DAYS = 30
"""After so long, nearly all cancellations and refunds of an order have come."""
TOTAL_WITHIN = 0.03
"""All customers together should spend what was predicted, within this share or what chance makes of so few."""

INPUTS = ("order_days_count", "tenure_days", "recency_days", "spend_amount")
"""The features that a prediction takes."""
LEAST = {"order_days_count": 1.0, "tenure_days": 1.0, "recency_days": 1.0, "spend_amount": 0.0}
"""What each is at least, of a customer who has ordered before the as-of date; none of them is null then."""


class ClvModel(BaseModel):
    """A fitted model; its JSON is the form in which it leaves training.

    `speed` is the order clock on each day from `start`, and `price_level` how dear an order is then, against the mean
    of those that it was fitted on; none in a model of before that was told. `kept_share` is what remains of the placed
    total after cancellations and refunds; `margin_rate` the margin's share in that, None where the shop does not know
    its costs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    start: date
    rates: bg_nbd.Parameters
    spend: gamma_gamma.Parameters
    speed: tuple[float, ...]
    price_level: tuple[float, ...] = ()
    kept_share: float
    margin_rate: float | None

    def to_bytes(self) -> bytes:
        """The model as JSON; the same model gives the same bytes."""
        return self.model_dump_json().encode()

    def passes(self, as_of: date, days: int) -> float:
        """How far the clock goes in the `days` days from `as_of`.

        Raises:
            ValueError: the model's clock does not go so far.
        """
        today = self._day(as_of)
        if not 0 <= today <= len(self.speed) - days:
            raise ValueError(
                f"The model of {self.as_of} cannot tell of {days} days from {as_of} on. Train it again: materialize "
                f"models/{NAME}."
            )
        shown = self._clock().at(np.array([today, today + days]))
        return float(shown[1] - shown[0])

    def histories(self, known: Known) -> bg_nbd.Histories:
        """The customers' histories on the clock."""
        today = self._day(known.as_of)
        span = Spans(np.arange(len(known.days)), known.days, today - known.tenure, today - known.recency)
        return order_clock.histories(span, self._clock(), today)

    def dearness(self, as_of: date, days: int) -> float:
        """How dear orders are in the `days` days from `as_of`, of which `passes` knows."""
        today = self._day(as_of)
        return float(self.prices().mean(np.array([today]), np.array([today + days - 1]))[0])

    def prices(self) -> Prices:
        """How dear orders are on each day that the clock tells of."""
        return Prices(self._clock(), np.array(self.price_level or [1.0] * len(self.speed)))

    def _clock(self) -> Clock:
        return Clock(np.array(self.speed))

    def _day(self, as_of: date) -> int:
        return (as_of - self.start).days


class Known(NamedTuple):
    """What is known of customers who have ordered before `as_of`: an array entry for each.

    `days` is the number of days with an order, `tenure` and `recency` the days since the first and the last of these,
    and `spend` the total of all orders placed.
    """

    as_of: date
    days: order_clock.Days
    tenure: order_clock.Days
    recency: order_clock.Days
    spend: Vector


class Values(NamedTuple):
    """Predictions for customers, an array entry for each; amounts in the shop's currency.

    `amount` is the expected total of an order day in the next 365 days; `revenue` what the shop keeps of the orders of
    that time; `value` the margin in it, discounted to the as-of date (where costs are not known, the revenue).
    """

    alive: Vector
    orders_90d: Vector
    orders_365d: Vector
    amount: Vector
    revenue: Vector
    value: Vector


class Trained(NamedTuple):
    """A model of the latest data, and how one of the same kind did on the holdout.

    `scores` are of net revenue in `holdout_days` days from `holdout`, `orders` of the number of order days there;
    `baselines` are mean absolute errors of net revenue, and `tested` is the model that was held against them. `rows`
    are the features of the holdout's customers, with what each spent, the prediction, and those of the baselines.
    """

    model: ClvModel
    tested: ClvModel
    holdout: date
    customers: int
    scores: Scores
    orders: Scores
    baselines: dict[str, float]
    rows: pa.Table
    actual: Vector
    predicted: Vector
    usual: dict[str, Vector]

    @property
    def metrics(self) -> dict[str, float]:
        """The holdout's figures by name; amounts in the shop's currency."""
        return {
            "mae": self.scores.mae,
            "total_ratio": self.scores.total_ratio,
            "normalised_gini": self.scores.gini,
            "orders_mae": self.orders.mae,
            "orders_total_ratio": self.orders.total_ratio,
        }

    @property
    def card(self) -> dict[str, Any]:
        """The model's card, but for the version that the registry gives it."""
        return {
            "name": NAME,
            "as_of": self.model.as_of.isoformat(),
            "features": [spec.model_dump() for spec in input_specs()],
            "metrics": self.metrics,
            "baseline_metrics": {f"{name}.mae": value for name, value in self.baselines.items()},
        }


def input_specs() -> list[FeatureSpec]:
    """The features that a prediction takes, as they are of customers who have ordered: it knows no others."""
    return [
        spec.model_copy(update={"nullable": False, "minimum": LEAST[spec.name]})
        for spec in CUSTOMER_FEATURES.specs(INPUTS)
    ]


def known(rows: pa.Table, as_of: date) -> Known:
    """What rows of the feature table tell of customers who have ordered."""
    days, tenure, recency = (rows[name].to_numpy().astype(np.int64) for name in INPUTS[:3])
    return Known(as_of, days, tenure, recency, rows["spend_amount"].to_numpy().astype(np.float64))


def predict(model: ClvModel, customers: Known) -> Values:
    """The value of customers who have ordered, from their features alone.

    Raises:
        ValueError: the model is too old for their as-of date.
    """
    histories = model.histories(customers)
    steps = np.linspace(0, HORIZON_DAYS, 13).astype(int)
    orders = [
        bg_nbd.expected_orders(model.rates, histories, model.passes(customers.as_of, int(step))) for step in steps[1:]
    ]
    monthly = np.diff(np.vstack([np.zeros(len(customers.days)), *orders]), axis=0)
    discount = (1 + YEARLY_DISCOUNT) ** -((steps[1:] + steps[:-1]) / 2 / 365)
    amount = _amount(model, customers, HORIZON_DAYS)
    kept = amount * model.kept_share
    return Values(
        alive=bg_nbd.alive_probability(model.rates, histories),
        orders_90d=bg_nbd.expected_orders(model.rates, histories, model.passes(customers.as_of, 90)),
        orders_365d=orders[-1],
        amount=amount,
        revenue=orders[-1] * kept,
        value=discount @ monthly * kept * (1.0 if model.margin_rate is None else model.margin_rate),
    )


def tolerated_total(actual: Vector, predicted: Vector) -> float:
    """The share by which the sum of predictions may differ from what came: TOTAL_WITHIN, and no less than chance."""
    return max(TOTAL_WITHIN, chance_of_total(actual, predicted))


def predict_days(model: ClvModel, customers: Known, days: int) -> tuple[Vector, Vector]:
    """The order days and the net revenue expected of each customer in the `days` days from their as-of date.

    Raises:
        ValueError: the model is too old for their as-of date.
    """
    orders = bg_nbd.expected_orders(model.rates, model.histories(customers), model.passes(customers.as_of, days))
    return orders, orders * _amount(model, customers, days) * model.kept_share


def fit(con: duckdb.DuckDBPyConnection, features: str, marts: Marts, as_of: date, data_start: date) -> ClvModel:
    """Fit on what was known when `as_of` began; `features` and `marts` are DuckDB SELECTs.

    Raises:
        NotEnoughData: too few customers have come back, or what they spend has no mean.
    """
    customers = _ordered(con, features, as_of)
    back = int((customers.days > 1).sum())
    if back < FEWEST_REPEAT_CUSTOMERS:
        raise NotEnoughData(
            f"Lifetime values need {FEWEST_REPEAT_CUSTOMERS} customers who ordered on two days or more: before {as_of} "
            f"there are {back} of {len(customers.days)}. Load more customers or more time."
        )
    today = (as_of - data_start).days
    told = today + USABLE_DAYS + HORIZON_DAYS
    orders, totals = _order_days(con, marts["fct_orders"], data_start, as_of)
    clock, rates = order_clock.fit(orders, today, told)
    level = order_clock.price_level(np.bincount(orders.day, minlength=today).astype(np.float64), totals, told)
    spending = customers.spend > 0
    mean_spend = _at_mean_prices(Prices(clock, level), customers, today)
    try:
        spend = gamma_gamma.fit(customers.days[spending].astype(np.float64), mean_spend[spending])
    except gamma_gamma.NoMeanSpend as reason:
        raise NotEnoughData(
            f"Lifetime values need orders whose amounts can be expected. {reason} See that the amounts of orders "
            f"before {as_of} are right, or load more customers."
        ) from None
    return ClvModel(
        as_of=as_of,
        start=data_start,
        rates=rates,
        spend=spend,
        speed=tuple(clock.speed.tolist()),
        price_level=tuple(level.tolist()),
        kept_share=_kept_share(con, marts, as_of),
        margin_rate=_margin_rate(con, marts["fct_order_items"], as_of),
    )


def train(
    con: duckdb.DuckDBPyConnection,
    features: str,
    marts: Marts,
    as_of_dates: Collection[date],
    *,
    data_start: date,
    data_end: date,
) -> Trained:
    """Hold a model against the latest HOLDOUT_DAYS days of the data, then fit one on all of the data.

    Raises:
        TooYoung: the history is too short.
        NotEnoughData: too few customers have come back.
    """
    complete = [day for day in sorted(as_of_dates) if day <= data_end]
    testable = [
        day
        for day in complete
        if day + timedelta(days=HOLDOUT_DAYS) <= data_end and day >= data_start + timedelta(days=SHORTEST_HISTORY_DAYS)
    ]
    if not testable:
        raise TooYoung(
            f"Lifetime values need an as-of date with {SHORTEST_HISTORY_DAYS} days of orders before it and "
            f"{HOLDOUT_DAYS} after it: the data are from {data_start} to {data_end}. Load more time."
        )
    holdout = testable[-1]
    tested = fit(con, features, marts, holdout, data_start)
    rows = ordered_rows(con, features, holdout)
    customers = known(rows, holdout)
    actual_orders, actual, previous = outcomes(con, features, marts, holdout, HOLDOUT_DAYS)
    orders, revenue = predict_days(tested, customers, HOLDOUT_DAYS)
    own_rate = customers.spend * HOLDOUT_DAYS / np.maximum(customers.tenure, 1) * tested.kept_share
    usual = {"own_rate": own_rate, "last_period": previous, "nothing": np.zeros(len(actual))}
    return Trained(
        model=fit(con, features, marts, complete[-1], data_start),
        tested=tested,
        holdout=holdout,
        customers=len(actual),
        scores=evaluate(actual, revenue),
        orders=evaluate(actual_orders, orders),
        baselines={name: mean_absolute_error(actual, values) for name, values in usual.items()},
        rows=rows,
        actual=actual,
        predicted=revenue,
        usual=usual,
    )


def _at_mean_prices(prices: Prices, customers: Known, today: int) -> Vector:
    """What an order day of each customer amounted to, as if it had always been as dear."""
    mean: Vector = customers.spend / customers.days
    return mean / prices.mean(today - customers.tenure, today - customers.recency)


def _amount(model: ClvModel, customers: Known, days: int) -> Vector:
    """The expected total of an order day of each customer in the `days` days from their as-of date."""
    mean_spend = _at_mean_prices(model.prices(), customers, (customers.as_of - model.start).days)
    amount = gamma_gamma.expected_spend(model.spend, customers.days.astype(np.float64), mean_spend)
    return amount * model.dearness(customers.as_of, days)


_ORDERED = "SELECT * FROM ({features}) WHERE as_of_date = $as_of AND order_days_count > 0"


def ordered_rows(con: duckdb.DuckDBPyConnection, features: str, as_of: date) -> pa.Table:
    """The feature rows of the customers who have ordered before `as_of`, by customer."""
    query = f"{_ORDERED.format(features=features)} ORDER BY customer_id"
    return con.execute(query, {"as_of": as_of}).to_arrow_table()


def _ordered(con: duckdb.DuckDBPyConnection, features: str, as_of: date) -> Known:
    return known(ordered_rows(con, features, as_of), as_of)


def _order_days(con: duckdb.DuckDBPyConnection, orders: str, start: date, as_of: date) -> tuple[OrderDays, Vector]:
    """The days on which customers ordered, and what all orders of each day from `start` on amount to."""
    found = con.execute(
        f"""
        SELECT dense_rank() OVER (ORDER BY customer_id) - 1 AS customer, date_diff('day', $start, day) AS day, total
        FROM (
            SELECT customer_id, CAST(ordered_at AS DATE) AS day, sum(total_amount)::DOUBLE AS total FROM ({orders})
            WHERE customer_id IS NOT NULL AND ordered_at < CAST($as_of AS TIMESTAMPTZ) GROUP BY ALL
        ) ORDER BY customer, day""",
        {"start": start, "as_of": as_of},
    ).to_arrow_table()
    days = found["day"].to_numpy()
    totals: Vector = np.bincount(days, found["total"].to_numpy(), (as_of - start).days).astype(np.float64)
    return OrderDays(found["customer"].to_numpy(), days), totals


def _kept_share(con: duckdb.DuckDBPyConnection, marts: Marts, as_of: date) -> float:
    """What was kept of the totals placed in the year before `as_of`, but for the latest, which have not settled."""
    refunds = marts.get("fct_refunds")
    refunded = f"SELECT order_id, sum(amount) AS refunded FROM ({refunds}) WHERE refunded_at < $as_of GROUP BY order_id"
    row = con.execute(
        f"""
        SELECT sum(CASE WHEN is_cancelled THEN 0 ELSE total_amount - {"coalesce(refunded, 0)" if refunds else "0"} END)
            ::DOUBLE / nullif(sum(total_amount), 0)::DOUBLE
        FROM ({marts["fct_orders"]}) o {f"LEFT JOIN ({refunded}) USING (order_id)" if refunds else ""}
        WHERE customer_id IS NOT NULL AND ordered_at >= CAST($as_of AS TIMESTAMPTZ) - INTERVAL 365 DAY
            AND ordered_at < CAST($as_of AS TIMESTAMPTZ) - to_days($settling)""",
        {"as_of": as_of, "settling": SETTLING_DAYS},
    ).fetchall()[0]
    return 1.0 if row[0] is None else float(row[0])


def _margin_rate(con: duckdb.DuckDBPyConnection, items: str, as_of: date) -> float | None:
    """The margin's share in the lines sold in the year before `as_of` whose cost is known; None where none is."""
    row = con.execute(
        f"""
        SELECT sum(margin_amount)::DOUBLE / nullif(sum(net_amount) FILTER (margin_amount IS NOT NULL), 0)::DOUBLE
        FROM ({items}) WHERE NOT is_cancelled AND ordered_at < CAST($as_of AS TIMESTAMPTZ)
            AND ordered_at >= CAST($as_of AS TIMESTAMPTZ) - INTERVAL 365 DAY""",
        {"as_of": as_of},
    ).fetchall()[0]
    return None if row[0] is None else float(row[0])


def outcomes(
    con: duckdb.DuckDBPyConnection, features: str, marts: Mapping[str, str], as_of: date, days: int
) -> tuple[Vector, Vector, Vector]:
    """Of each customer of `ordered_rows`: order days and net revenue in the `days` days from `as_of`; revenue before.

    Net revenue is the total of the orders that were not cancelled, less what was refunded in that time. That before is
    of as many days.
    """
    refunds = marts.get("fct_refunds")
    refunded = f"SELECT customer_id, refunded_at AS moment, -amount AS amount, NULL FROM ({refunds})"
    found = con.execute(
        f"""
        WITH moves AS (
            SELECT customer_id, ordered_at AS moment, CASE WHEN is_cancelled THEN 0 ELSE total_amount END AS amount,
                CAST(ordered_at AS DATE) AS day
            FROM ({marts["fct_orders"]}) {f"UNION ALL {refunded}" if refunds else ""}
        ), dated AS (
            SELECT *, moment >= CAST($as_of AS TIMESTAMPTZ) AS is_after FROM moves
            WHERE moment >= CAST($as_of AS TIMESTAMPTZ) - to_days($days)
                AND moment < CAST($as_of AS TIMESTAMPTZ) + to_days($days)
        ), summed AS (
            SELECT customer_id, count(DISTINCT day) FILTER (is_after) AS orders, sum(amount) FILTER (is_after) AS after,
                sum(amount) FILTER (NOT is_after) AS before
            FROM dated GROUP BY customer_id
        )
        SELECT coalesce(orders, 0)::DOUBLE AS orders, coalesce(after, 0)::DOUBLE AS after,
            coalesce(before, 0)::DOUBLE AS before
        FROM ({_ORDERED.format(features=features)}) LEFT JOIN summed USING (customer_id) ORDER BY customer_id""",
        {"as_of": as_of, "days": days},
    ).to_arrow_table()
    orders, after, before = (found[name].to_numpy() for name in ("orders", "after", "before"))
    return orders, after, before
