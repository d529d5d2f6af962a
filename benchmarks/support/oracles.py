"""How good somebody would be on the models' holdouts who knows what the simulator planted, which no model may read.

An oracle knows each customer's rates and tastes, every day's demand, prices and stock, and the fraud rings; not what
chance will make of them. What e-mails, experiments and loyalty tiers add for some customers is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.lake import Lake
from cartograph.settings import Settings
from cartograph.shops import load_shop
from ecom_assets.simulator.aftersales import METHOD_SHARES
from ecom_assets.simulator.catalog import PRODUCTS
from ecom_assets.simulator.columns import DAY
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.orders import FRAUD_CHANCE_ALONE, FRAUD_CHANCE_IN_RING, FRAUD_SPEND, describe, fill
from ecom_assets.simulator.people import LATE_FIRST_DAYS, LATE_FIRST_SHARE, NEVER_BUY_SHARE, SPEND_SHAPE
from ecom_assets.simulator.world import World
from ml_assets.core.evaluation import ranking
from ml_assets.core.evaluation.classification import average_precision, evaluate, recall_at
from ml_assets.core.evaluation.forecasting import origins, point_scores, window
from ml_assets.core.evaluation.values import mean_absolute_error
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn, classifier, clv, fraud, propensity
from ml_assets.core.models.classifier import Question
from ml_assets.core.models.demand import daily, predictions
from ml_assets.core.models.demand.panel import DAILY
from ml_assets.core.models.demand.training import NAME as DEMAND_FORECASTER
from ml_assets.core.models.demand.training import WINDOWS, spread_by_quantity
from ml_assets.core.models.fraud_training import FALSE_POSITIVE_RATE
from ml_assets.core.models.recommendation import training as recommendation
from ml_assets.core.models.recommendation.histories import REPEATS_MATTER_FROM, repeat_share
from ml_assets.core.models.recommendation.purchases import catalogue, purchases
from ml_assets.core.models.recommendation.recommender import batches
from ml_assets.defs.marts import DEMAND, FEATURES, ORDER_RISK, pin, published

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

MARTS = ("fct_orders", "fct_order_items", "fct_payments", "fct_refunds", "dim_products", "dim_dates")


class Held(NamedTuple):
    """A shop that was run: its world, its tables as DuckDB SELECTs, and when its data begin and end."""

    con: duckdb.DuckDBPyConnection
    world: World
    tables: Mapping[str, str]
    start: date
    end: date

    @property
    def as_of_dates(self) -> list[date]:
        """The dates of the feature table."""
        return as_of_dates(self.con, self.tables["customer_features"])

    def numbers(self, customers: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The simulator's numbers of customers."""
        return _places(customers, self.world.customer_ids)

    def clock(self, days: npt.NDArray[Any]) -> Vector:
        """The operational clock when each of `days` begins."""
        return self.world.calendar.clock(days.astype("datetime64[us]").astype(np.int64))


def scores(settings: Settings, customers: int, seed: int) -> dict[str, dict[str, float]]:
    """The figures of the oracle by model and measure, on the holdouts of the models that the shop's run trained."""
    shop, lake = load_shop(settings), Lake.from_settings(settings)
    dates = {"start": shop.start, "end": shop.end}
    config = SimulatorConfig.model_validate({"customers": customers, "seed": seed, **dates})
    inputs = pin(lake, [FEATURES, DEMAND, ORDER_RISK, *published(MARTS)])
    days_ahead = predictions.horizon(load_shop(settings).replenishment)
    with lake.connect() as con:
        held = Held(con, World(config), inputs.selects, config.start, config.end)
        return {
            churn.QUESTION.name: yes_or_no(held, churn.QUESTION),
            propensity.QUESTION.name: yes_or_no(held, propensity.QUESTION),
            clv.NAME: values(held),
            recommendation.NAME: recommendations(held),
            DEMAND_FORECASTER: forecasts(held, days_ahead),
            fraud.NAME: frauds(held),
        }


def yes_or_no(held: Held, question: Question) -> dict[str, float]:
    """Of a question about orders: the chance that a customer of known rates orders."""
    split = classifier.split(question, held.as_of_dates, data_start=held.start, data_end=held.end)
    features, orders = held.tables["customer_features"], held.tables["fct_orders"]
    rows = classifier.labelled_rows(held.con, question, features, orders, [split.holdout])
    chance = order_chance(held, rows, split.holdout, question.horizon_days)
    found = evaluate(classifier.target(question, rows), chance if question.is_event else 1 - chance)
    return {"auc": found.auc.value, "lift_top_decile": found.lift, "ece": found.ece}


def order_chance(held: Held, rows: pa.Table, as_of: date, horizon: int) -> Vector:
    """The chance of an order in `horizon` days from `as_of`, of rows of the feature table."""
    who, folk = held.numbers(rows["customer_id"]), held.world.people
    today, until = _ahead(held, as_of, horizon)
    comes_back = alive(held, rows, as_of) * -np.expm1(-folk.rate[who] * (until - today))
    waited = np.datetime64(as_of, "us").astype(np.int64) - folk.registered_at[who]
    undecided = LATE_FIRST_SHARE * np.exp(-waited / (LATE_FIRST_DAYS * DAY))
    comes_first = undecided / (undecided + NEVER_BUY_SHARE) * -np.expm1(-horizon / LATE_FIRST_DAYS)
    return np.where(_ordered(rows), comes_back, comes_first)


def alive(held: Held, rows: pa.Table, as_of: date) -> Vector:
    """The chance that a customer has not dropped out, by their rates and last order (Fader, Hardie and Lee 2005)."""
    who, folk = held.numbers(rows["customer_id"]), held.world.people
    silent = rows["recency_days"].fill_null(0).to_numpy().astype("timedelta64[D]")
    today, _ = _ahead(held, as_of, 0)
    waited = today - held.clock(np.datetime64(as_of) - silent)
    rate, dropout = folk.rate[who], folk.dropout[who]
    once = rows["order_days_count"].to_numpy() < 2
    return np.where(once, 1.0, 1 / (1 + dropout / (1 - dropout) * np.exp(rate * waited)))


def values(held: Held) -> dict[str, float]:
    """Of what customers will spend: the orders expected at their rates, of the mean amount that is planted."""
    as_of = max(day for day in held.as_of_dates if day + timedelta(days=clv.HOLDOUT_DAYS) <= held.end)
    features = held.tables["customer_features"]
    rows = clv.ordered_rows(held.con, features, as_of)
    who, folk = held.numbers(rows["customer_id"]), held.world.people
    today, until = _ahead(held, as_of, clv.HOLDOUT_DAYS)
    rate, dropout = folk.rate[who], folk.dropout[who]
    orders = alive(held, rows, as_of) * -np.expm1(-dropout * rate * (until - today)) / dropout
    kept = clv.fit(held.con, features, held.tables, as_of, held.start).kept_share
    spent = rows["spend_amount"].to_numpy().sum() / (rows["orders_count"].to_numpy() * folk.spend[who]).sum()
    _, actual, _ = clv.outcomes(held.con, features, held.tables, as_of, clv.HOLDOUT_DAYS)
    expected = orders * folk.spend[who] * spent * kept
    return {"mae": mean_absolute_error(actual, expected), "total_ratio": float(expected.sum() / actual.sum())}


def recommendations(held: Held) -> dict[str, float]:
    """Of what customers buy next: their tastes, times how wanted each product is at the prices of these days."""
    as_of = max(held.as_of_dates)
    since = as_of - timedelta(days=recommendation.HORIZON_DAYS)
    products = catalogue(held.con, held.tables["dim_products"])
    data = purchases(held.con, held.tables["fct_order_items"], products, as_of)
    split = ranking.temporal_split(data.histories, data.moments, np.datetime64(since))
    shop = held.world.catalog
    wanted = shop.market((since - held.start).days, (as_of - held.start).days).weight.mean(axis=0)
    places = _places(pa.chunked_array([list(products.products)]), held.world.product_ids)
    tastes = shop.segment_preference(held.world.people, held.numbers(pa.chunked_array([list(data.customers)])))
    liked = (tastes[:, shop.segment] * wanted)[:, places]
    parts = iter(batches(split.known.rows, split.known.size))  # as `rank` takes them, in its order
    exclude_seen = repeat_share(split.known) < REPEATS_MATTER_FROM
    ranked = ranking.rank(split, lambda _: liked[next(parts)], exclude_seen=exclude_seen)
    return {name: found.value for name, found in ranking.evaluate(ranked).items()}


def forecasts(held: Held, horizon: int) -> dict[str, float]:
    """Of the windows that the forecaster was tested on: the demand that each day's orders give each product."""
    as_of = held.end
    panel = daily.read(held.con, held.tables, as_of, horizon).panel
    starts = origins((as_of - held.start).days, horizon, WINDOWS)
    first = window(panel.quantity, starts[0], horizon, season=DAILY.season, recent=DAILY.windows[1])
    chosen = spread_by_quantity(first)
    places = _places(pa.chunked_array([list(panel.series)]), held.world.product_ids)[chosen]
    known = demand(held.world)[places]
    some = panel.of(chosen).quantity
    windows = [window(some, start, horizon, season=DAILY.season, recent=DAILY.windows[1]) for start in starts]
    found = point_scores(windows, [known[:, start : start + horizon] for start in starts])
    return {"weighted_rmsse": found.weighted_rmsse}


def demand(world: World) -> Matrix:
    """Products × days: the day's orders, dealt out by how wanted each product is, and scaled to the product's total."""
    days = world.calendar.days
    orders = describe(world, world.skeleton.between(world.calendar.start, world.calendar.end))
    lines = fill(world, orders)
    total = np.bincount(lines.product, weights=lines.quantity, minlength=PRODUCTS)
    dealt = (np.bincount(orders.day, minlength=days)[:, None] * world.catalog.market(0, days).weight).T
    return dealt * (total / dealt.sum(axis=1))[:, None]


def frauds(held: Held) -> dict[str, float]:
    """Of fraud: the rings, and what customers spend on average."""
    split = fraud.split(data_start=held.start, data_end=held.end)
    chosen = (split.holdout, split.until), split.known
    risk, orders, refunds = (held.tables[name] for name in ("order_risk", "fct_orders", "fct_refunds"))
    rows = fraud.labelled_rows(held.con, risk, orders, refunds, *chosen)
    held.con.register("held_out", rows.select(["order_id"]).append_column("place", pa.array(range(len(rows)))))
    known = held.con.execute(
        f"""
        SELECT customer_id, total_amount::DOUBLE AS amount, coalesce(by_card, true) AS by_card
        FROM held_out JOIN ({orders}) USING (order_id) LEFT JOIN (
            SELECT order_id, bool_or(card_fingerprint IS NOT NULL) AS by_card
            FROM ({held.tables["fct_payments"]}) GROUP BY order_id
        ) USING (order_id) ORDER BY place"""
    ).to_arrow_table()
    folk, named = held.world.people, known["customer_id"].is_valid().to_numpy()
    who = held.numbers(known["customer_id"].fill_null(held.world.customer_ids[0]))
    spent = np.where(named, known["amount"].to_numpy() / folk.spend[who], 1.0)
    odds = fraud_odds(named & (folk.ring[who] >= 0), known["by_card"].to_numpy(), spent)
    labels, told = fraud.target(rows), np.minimum(odds, 1e12)
    return {
        "auprc": average_precision(labels, told),
        "recall_at_1pct_fpr": recall_at(labels, told, FALSE_POSITIVE_RATE),
    }


def fraud_odds(in_ring: npt.NDArray[np.bool_], by_card: npt.NDArray[np.bool_], spent: Vector | None) -> Vector:
    """The odds of fraud to one who knows the rings, the planted chances and that frauds pay by card.

    `spent` is an order's total over its customer's planted mean, which frauds exceed by a known factor: by the ratio of
    the gamma densities. No model can know that of a customer's first orders; None to leave it out.
    """
    chance = np.where(in_ring, FRAUD_CHANCE_IN_RING, FRAUD_CHANCE_ALONE)
    odds = chance / (1 - chance) * np.where(by_card, 1 / METHOD_SHARES[0], 0)
    if spent is not None:
        odds = odds * FRAUD_SPEND**-SPEND_SHAPE * np.exp(SPEND_SHAPE * spent * (1 - 1 / FRAUD_SPEND))
    return odds


def _ahead(held: Held, as_of: date, days: int) -> tuple[float, float]:
    """The clock when `as_of` begins, and so many days later."""
    today, until = held.clock(np.array([as_of, as_of + timedelta(days=days)], dtype="datetime64[D]"))
    return float(today), float(until)


def _ordered(rows: pa.Table) -> npt.NDArray[np.bool_]:
    return rows["order_days_count"].to_numpy() > 0


def _places(names: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    return pc.index_in(names, known).to_numpy()
