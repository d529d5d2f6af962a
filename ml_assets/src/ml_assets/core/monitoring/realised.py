"""What became of predictions that stood in the lake before their outcome was known, by model.

Each function takes DuckDB SELECTs: of the `predictions` of one role, and of `tables` by their own names. It gives the
points of all as-of dates whose outcomes are known on `data_end`, the oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.windows import at_midnight
from ml_assets.core.evaluation.classification import average_precision, interval
from ml_assets.core.evaluation.forecasting import coverage, point_scores, window
from ml_assets.core.evaluation.ranking import Ranking, chosen, evaluate, rank, same_for_all, temporal_split
from ml_assets.core.features.customers import Marts
from ml_assets.core.models import classifier, clv, fraud
from ml_assets.core.models.classifier import Events, Question, Vector, orders
from ml_assets.core.models.demand import daily
from ml_assets.core.models.demand.forecaster import INTERVAL
from ml_assets.core.models.demand.panel import DAILY
from ml_assets.core.models.recommendation.histories import REPEATS_MATTER_FROM, popularity, repeat_share
from ml_assets.core.models.recommendation.purchases import catalogue, purchases
from ml_assets.core.models.recommendation.recommender import NOTHING
from ml_assets.core.models.recommendation.training import HORIZON_DAYS as LIST_DAYS
from ml_assets.core.monitoring.quality import FEWEST_ROWS, Figure, Point, of_amounts, of_probabilities, within
from ml_assets.core.monitoring.quality import interval as with_interval

Realised = Callable[[duckdb.DuckDBPyConnection, str, Marts, date], Iterator[Point]]

ORDER_DAYS = 90
"""The orders of so many days tell of lifetime values long before their year is over."""
DEMAND_WITHIN, COVERAGE_WITHIN = 0.25, 0.10
"""How far a single forecast may be off in total, and its interval from 90 %: its days err together, as a sale that
nobody foretold lifts all of them."""
FRAUDS_WITHIN = 2.0
"""Largest ratio of expected to observed frauds, or the reverse: the holdout is held to 1.5."""


def of_classifier(question: Question, probability: str, version: str, events: Events = orders) -> Realised:
    """Of a question's predictions; `probability` and `version` are their columns."""

    def realised(con: duckdb.DuckDBPyConnection, predictions: str, tables: Marts, data_end: date) -> Iterator[Point]:
        known = _known(con, predictions, question.horizon_days, data_end)
        if not known:
            return
        scored = f"""
            SELECT f.*, s.{probability} AS predicted, s.{version} AS version
            FROM ({tables["customer_features"]}) f JOIN ({predictions}) s USING (customer_id, as_of_date)"""
        outcomes = classifier.labelled_rows(con, question, scored, events(con, tables), known)
        for day in known:
            of_day = outcomes.filter(pc.equal(outcomes["as_of_date"], pa.scalar(day)))
            if len(of_day) < FEWEST_ROWS:
                continue
            figures = of_probabilities(question, of_day, of_day["predicted"].to_numpy())
            if figures:
                yield Point(day, of_day["version"][0].as_py(), len(of_day), figures)

    return realised


def of_values(con: duckdb.DuckDBPyConnection, predictions: str, tables: Marts, data_end: date) -> Iterator[Point]:
    """Of lifetime values: orders after 90 days, and net revenue after a year, both held to simpler guesses."""
    for day in _known(con, predictions, ORDER_DAYS, data_end):
        own = f"SEMI JOIN ({predictions}) USING (customer_id, as_of_date) WHERE order_days_count > 0"
        features = f"FROM ({tables['customer_features']}) {own}"
        rows = clv.ordered_rows(con, features, day)
        expected = con.execute(
            f"""
            SELECT * FROM ({predictions}) SEMI JOIN ({features}) USING (customer_id, as_of_date)
            WHERE as_of_date = $as_of ORDER BY customer_id""",
            {"as_of": day},
        ).to_arrow_table()
        if len(rows) < FEWEST_ROWS:
            continue
        customers = clv.known(rows, day)
        came, _, _ = clv.outcomes(con, features, tables, day, ORDER_DAYS)
        own_rate = customers.days * ORDER_DAYS / np.maximum(customers.tenure, 1)
        figures = of_amounts(f"orders_{ORDER_DAYS}d", came, _column(expected, "expected_orders_90d"), own_rate)
        if day + timedelta(days=clv.HORIZON_DAYS) <= data_end:
            _, revenue, before = clv.outcomes(con, features, tables, day, clv.HORIZON_DAYS)
            figures += of_amounts("revenue_365d", revenue, _column(expected, "expected_revenue_365d"), before)
        if figures:
            yield Point(day, expected["clv_model_version"][0].as_py(), len(rows), figures)


def of_forecasts(con: duckdb.DuckDBPyConnection, predictions: str, tables: Marts, _: date) -> Iterator[Point]:
    """Of demand forecasts whose last day is over, held to the week before them repeated.

    The last day is that of the table of daily demand.
    """
    ((known_until,),) = con.execute(f"SELECT max(demand_date) + 1 FROM ({tables['daily_demand']})").fetchall()
    spans = con.execute(
        f"""
        SELECT as_of_date, max(forecast_date) - as_of_date + 1, max(demand_model_version) FROM ({predictions})
        GROUP BY as_of_date HAVING max(forecast_date) < $until ORDER BY as_of_date""",
        {"until": known_until},
    ).fetchall()
    if not spans:
        return
    panel = daily.read(con, tables, known_until, 0).panel
    for day, days, version in spans:
        rows = con.execute(
            f"""
            SELECT product_id, CAST(forecast_date - as_of_date AS BIGINT) AS ahead, mean_units, low_units, high_units
            FROM ({predictions}) SEMI JOIN ({tables["daily_demand"]}) USING (product_id) WHERE as_of_date = $as_of""",
            {"as_of": day},
        ).to_arrow_table()
        place = np.asarray(pc.index_in(rows["product_id"], value_set=pa.array(panel.series)))
        mean, low, high = (np.full((len(panel.series), days), np.nan) for _ in range(3))
        for matrix, name in ((mean, "mean_units"), (low, "low_units"), (high, "high_units")):
            matrix[place, rows["ahead"].to_numpy()] = rows[name].to_numpy()
        origin = (day - panel.dates[0].item()).days
        past = window(panel.quantity, origin, days, season=DAILY.season, recent=DAILY.windows[1])
        past = past._replace(actual=np.where(np.isnan(mean), np.nan, past.actual))
        week = np.nan_to_num(panel.quantity[:, origin - DAILY.season : origin])
        usual = np.tile(week, -(-days // DAILY.season))[:, :days]
        scores, total = point_scores([past], [mean]), float(np.nansum(past.actual))
        if not total or np.isnan(scores.weighted_rmsse):
            continue
        naive = point_scores([past], [usual]).weighted_rmsse
        yield Point(
            day,
            version,
            len(np.unique(place)),
            (
                Figure("weighted_rmsse", scores.weighted_rmsse, at_most=naive),
                within("total_ratio", 1 + scores.bias, DEMAND_WITHIN),
                Figure(
                    "interval_coverage",
                    coverage(past.actual, low, high),
                    at_least=INTERVAL - COVERAGE_WITHIN,
                    at_most=INTERVAL + COVERAGE_WITHIN,
                ),
                Figure("seasonal_naive_weighted_rmsse", naive),
            ),
        )


def of_fraud(con: duckdb.DuckDBPyConnection, predictions: str, tables: Marts, data_end: date) -> Iterator[Point]:
    """Of the orders scored in the HOLDOUT_DAYS days before each month, once the chargebacks of the last have come.

    Dates of which too few frauds are known have no point.
    """
    scored = f"""
        SELECT r.*, s.fraud_probability AS predicted, s.fraud_model_version AS version
        FROM ({tables["order_risk"]}) r JOIN ({predictions}) s USING (order_id)"""
    months = con.execute(
        f"""
        SELECT DISTINCT CAST(date_trunc('month', order_date) + INTERVAL 1 MONTH AS DATE) AS until FROM ({predictions})
        WHERE until + $maturity <= $data_end ORDER BY until""",
        {"maturity": fraud.MATURITY_DAYS, "data_end": data_end},
    ).fetchall()
    for (until,) in months:
        days, known = (until - timedelta(days=fraud.HOLDOUT_DAYS), until), until + timedelta(days=fraud.MATURITY_DAYS)
        rows = fraud.labelled_rows(con, scored, tables["fct_orders"], tables["fct_refunds"], days, known)
        labels, amount, predicted = fraud.target(rows), fraud.amounts(rows), rows["predicted"].to_numpy()
        frauds = int(labels.sum())
        if frauds < fraud.FEWEST_HELD_OUT or frauds == len(labels):
            continue
        rules = average_precision(labels, fraud.rules_fired(rows))
        nothing = float((labels * amount).sum()) / len(rows)
        lost = fraud.loss(labels, amount, fraud.is_reviewed(predicted, amount)) / len(rows)
        yield Point(
            until,
            rows["version"][-1].as_py(),
            len(rows),
            (
                with_interval("auprc", interval(labels, predicted, average_precision), at_least=rules),
                Figure("loss_per_order", lost, at_most=nothing),
                Figure(
                    "expected_to_observed",
                    float(predicted.sum()) / frauds,
                    at_least=1 / FRAUDS_WITHIN,
                    at_most=FRAUDS_WITHIN,
                ),
                Figure("fraud_rate", frauds / len(rows)),
                Figure("rules_auprc", rules),
                Figure("no_review_loss_per_order", nothing),
            ),
        )


def of_lists(con: duckdb.DuckDBPyConnection, predictions: str, tables: Marts, data_end: date) -> Iterator[Point]:
    """Of the products listed for customers, held to listing what all bought most; those who bought then count."""
    products = catalogue(con, tables["dim_products"])
    for day in _known(con, predictions, LIST_DAYS, data_end):
        bought = purchases(con, tables["fct_order_items"], products, day + timedelta(days=LIST_DAYS))
        split = temporal_split(bought.histories, bought.moments, np.datetime64(at_midnight(day).replace(tzinfo=None)))
        lists = con.execute(
            f"SELECT customer_id, product_id, rank, recommender_version FROM ({predictions}) WHERE as_of_date = $as_of",
            {"as_of": day},
        ).to_arrow_table()
        known = pa.array(bought.customers, pa.string())
        owner = np.asarray(pc.index_in(lists["customer_id"], value_set=known).fill_null(NOTHING), dtype=np.int64)
        item, place = products.find(lists["product_id"]), lists["rank"].to_numpy() - 1
        owner, item, place = (column[(owner != NOTHING) & (item != NOTHING)] for column in (owner, item, place))
        listed = np.unique(owner)
        some = chosen(split, listed)
        some_targets = (listed[some.targets.owners], some.targets.items)
        buyers = int(np.count_nonzero(np.diff(some.targets.starts)))
        if buyers < FEWEST_ROWS:
            continue
        cells, wanted = (who * split.known.size + what for who, what in ((owner, item), some_targets))
        order = np.argsort(cells)
        at = np.minimum(np.searchsorted(cells[order], wanted), len(cells) - 1)
        ranks = np.where(cells[order][at] == wanted, place[order][at], split.known.size).astype(np.float64)
        overall = popularity(split.known)
        exclude_seen = repeat_share(split.known) < REPEATS_MATTER_FROM
        usual = evaluate(rank(some, same_for_all(overall), exclude_seen=exclude_seen, listed=0))
        found = evaluate(Ranking(some, ranks, np.empty((0, 0), np.int64)))
        yield Point(
            day,
            lists["recommender_version"][0].as_py(),
            buyers,
            (
                with_interval("ndcg@10", found["ndcg@10"], at_least=usual["ndcg@10"].value),
                *(with_interval(name, found[name]) for name in ("hit_rate@10", "recall@20")),
                *(Figure(f"popularity_{name}", usual[name].value) for name in ("ndcg@10", "hit_rate@10", "recall@20")),
            ),
        )


def _known(con: duckdb.DuckDBPyConnection, predictions: str, days: int, data_end: date) -> list[date]:
    """The as-of dates of predictions that so many days of the data follow."""
    found = con.execute(f"SELECT DISTINCT as_of_date FROM ({predictions}) ORDER BY as_of_date").fetchall()
    return [day for (day,) in found if day + timedelta(days=days) <= data_end]


def _column(table: pa.Table, name: str) -> Vector:
    values: Vector = table[name].to_numpy()
    return values
