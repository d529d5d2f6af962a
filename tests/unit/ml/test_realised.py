"""What became of predictions, by model: good ones hold, decayed ones are told, and what is too young is not judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.core.models import churn, clv, fraud, propensity
from ml_assets.core.monitoring import realised
from ml_assets.core.monitoring.quality import Figure, Point, contract, latest, rows_of, side_by_side
from ml_assets.core.own_models.form import OwnModel, own_model
from ml_assets.core.own_models.question import asked_alike, question
from ml_assets.core.registry import CHALLENGER, CHAMPION, Version
from ml_assets.defs.monitoring.quality import HELD, judge

AS_OF = date(2025, 1, 1)
START = datetime(2025, 1, 1, tzinfo=UTC)
NEEDED = "predictions that are old enough"


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def register(con: duckdb.DuckDBPyConnection, **tables: Mapping[str, object]) -> dict[str, str]:
    for name, columns in tables.items():
        con.register(name, pa.table(dict(columns)))
    return {name: f"FROM {name}" for name in tables}


def passes(points: list[Point]) -> bool:
    """Whether the check passes; a champion's points are judged and a challenger's only told."""
    made = contract("quality", "A figure.")
    assert not len(latest(made.arrow_table(rows_of(CHALLENGER, points)), CHAMPION))
    return judge(HELD, latest(made.arrow_table(rows_of(CHAMPION, points)), CHAMPION), NEEDED).passed


def figures(point: Point) -> dict[str, Figure]:
    return {figure.metric: figure for figure in point.figures}


def own(within_days: int, **content: object) -> OwnModel:
    """A shop's own model of who gets a refund."""
    events = "select customer_id, refunded_at as happened_at from fct_refunds"
    told = {"name": "mine", "description": "Who gets a refund.", "owner": "team:shop"}
    estimator = {"path": "sklearn.linear_model.LogisticRegression"}
    return own_model(
        {**told, "target": {"events": events, "within_days": within_days}, "estimator": estimator, **content}
    )


def version(number: str, origin: dict[str, str]) -> Version:
    return Version("mine", number, START, "2025-01-01", "0", "onnx", (), origin, (), None)


QUESTIONS = [
    (churn.QUESTION, "churn_probability", "churn_model_version"),
    (propensity.QUESTION, "purchase_probability", "propensity_model_version"),
]


@pytest.mark.parametrize(("question", "column", "version"), QUESTIONS)
def test_a_classifiers_predictions_are_judged_once_their_days_have_passed(con, question, column, version):
    """Customers order again at a rate that the model knows, and recency does not tell."""
    draw = np.random.default_rng(1)
    size = 2000
    ids, rate = [f"c{n}" for n in range(size)], draw.uniform(0, 1, size)
    orders = draw.random(size) < rate
    tables = register(
        con,
        customer_features={
            "customer_id": ids,
            "as_of_date": pa.array([AS_OF] * size),
            "recency_days": draw.integers(1, 170, size),
            "orders_180d": draw.integers(0, 4, size),
        },
        fct_orders={
            "customer_id": [one for one, does in zip(ids, orders, strict=True) if does],
            "ordered_at": [START + timedelta(days=3)] * int(orders.sum()),
            "is_cancelled": [False] * int(orders.sum()),
        },
    )

    def points(probability: np.ndarray, data_end: date) -> list[Point]:
        of = {"customer_id": ids, "as_of_date": pa.array([AS_OF] * size), column: probability, version: ["7"] * size}
        register(con, predictions=of)
        return list(realised.of_classifier(question, column, version)(con, "FROM predictions", tables, data_end))

    known = AS_OF + timedelta(days=question.horizon_days)
    truth = rate if question.is_event else 1 - rate
    assert points(truth, known - timedelta(days=1)) == []
    (good,) = points(truth, known)
    assert (good.as_of, good.version, good.rows) == (AS_OF, "7", size)
    assert passes([good])
    assert not passes(points(1 - truth, known)), "it ranks the other way"
    assert not passes(points(truth / 3, known)), "it ranks well, and its probabilities are off"
    assert passes([]), "nothing can be judged yet"


def test_a_shops_own_model_is_judged_by_its_measure_margin_and_events(con):
    """Who returns what they bought, which one in five does; frequency does not tell."""
    draw = np.random.default_rng(6)
    size, within, share = 2000, 60, 0.2
    ids, chance = [f"c{n}" for n in range(size)], draw.beta(share, 1 - share, size)
    back = [one for one, does in zip(ids, draw.random(size) < chance, strict=True) if does]
    tables = register(
        con,
        customer_features={
            "customer_id": ids,
            "as_of_date": pa.array([AS_OF] * size),
            "orders_90d": draw.integers(0, 4, size),
        },
        happened={"customer_id": back, "day": pa.array([AS_OF + timedelta(days=within - 1)] * len(back))},
    )

    def points(probability: np.ndarray, **content: object) -> list[Point]:
        of = {"customer_id": ids, "as_of_date": pa.array([AS_OF] * size), "probability": probability}
        register(con, predictions={**of, "model_version": ["1"] * size})
        asked = question(own(within_days=within, baseline={"feature": "orders_90d"}, **content))
        judged = realised.of_classifier(asked, "probability", "model_version", lambda _, marts: marts["happened"])
        return list(judged(con, "FROM predictions", tables, AS_OF + timedelta(days=within)))

    (good,) = points(chance, metric="average_precision")
    found = figures(good)
    assert found["is_positive_rate"].value == pytest.approx(len(back) / size)
    assert found["average_precision"].at_least == found["orders_90d_rule_average_precision"].value
    assert found["auc"].at_least is None, "it is told, and the file does not ask for it"
    assert passes([good])
    assert not passes(points(np.full(size, share), metric="average_precision")), "it tells nothing apart"
    assert not passes(points(chance, metric="average_precision", margin=0.9)), "not by so much"
    assert not points(chance, population="orders_90d > 9"), "of nobody nothing is said"


def test_predictions_of_a_version_that_was_asked_something_else_are_not_taken(con):
    """Its definition is what the file said when it was trained; one without has not said what it was asked."""
    register(con, predictions={"customer_id": list("abcd"), "model_version": list("1234")})
    asked = own(within_days=60)
    told = {"1": asked, "2": own(within_days=30), "3": own(within_days=60, margin=0.1)}
    versions = [version(number, {"definition": one.model_dump_json()}) for number, one in told.items()]
    taken = asked_alike(con, "FROM predictions", asked, [*versions, version("4", {})])
    assert con.execute(f"SELECT customer_id FROM ({taken}) ORDER BY customer_id").fetchall() == [("a",), ("c",)]


def spenders(con: duckdb.DuckDBPyConnection) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """Customers who order at a steady rate, 25 a time, but that a third has left; what each then orders and spends."""
    draw = np.random.default_rng(2)
    size, days = 600, 400
    ids, rate = [f"c{n:03}" for n in range(size)], draw.gamma(2, 0.02, size)
    left = draw.random(size) < 1 / 3
    past = 1 + draw.poisson(rate * 300)
    bought = [(n, day) for n in range(size) for day in range(days) if not left[n] and draw.random() < rate[n]]
    earlier = [(n, -1 - int(step)) for n in range(size) for step in draw.integers(0, 300, past[n])]
    tables = register(
        con,
        customer_features={
            "customer_id": ids,
            "as_of_date": pa.array([AS_OF] * size),
            "order_days_count": past,
            "tenure_days": [300] * size,
            "recency_days": [10] * size,
            "spend_amount": 25.0 * past,
        },
        fct_orders={
            "customer_id": [ids[n] for n, _ in (*bought, *earlier)],
            "ordered_at": [START + timedelta(days=day, hours=1) for _, day in (*bought, *earlier)],
            "is_cancelled": [False] * (len(bought) + len(earlier)),
            "total_amount": [25.0] * (len(bought) + len(earlier)),
        },
    )
    alive = np.where(left, 0, rate)
    return tables, 90 * alive, 365 * 25 * alive


def test_lifetime_values_are_held_against_orders_first_and_against_spend_after_a_year(con):
    tables, orders, revenue = spenders(con)

    def points(times: float, data_end: date) -> list[Point]:
        size = len(orders)
        register(
            con,
            predictions={
                "customer_id": [f"c{n:03}" for n in range(size)],
                "as_of_date": pa.array([AS_OF] * size),
                "expected_orders_90d": times * orders,
                "expected_revenue_365d": times * revenue,
                "clv_model_version": ["3"] * size,
            },
        )
        return list(realised.of_values(con, "FROM predictions", tables, data_end))

    quarter, year = (AS_OF + timedelta(days=days) for days in (realised.ORDER_DAYS, clv.HORIZON_DAYS))
    assert points(1, quarter - timedelta(days=1)) == []
    (early,), (late,) = points(1, quarter), points(1, year)
    assert passes([early])
    assert passes([late])
    assert not any(name.startswith("revenue") for name in figures(early))
    assert figures(late)["revenue_365d_total_ratio"].value == pytest.approx(1, abs=0.1)
    assert figures(late)["revenue_365d_mae"].value < figures(late)["revenue_365d_simple_mae"].value
    assert not passes(points(1.5, year)), "half as much again was predicted"


def test_forecasts_are_judged_once_their_last_day_is_over(con):
    """Poisson demand with a weekly rhythm, of which one product ran out on a day."""
    draw = np.random.default_rng(3)
    products, days, origin, horizon = 30, 130, 100, 14
    rhythm = np.array([1, 1, 1, 1, 2, 3, 2])[np.arange(days) % 7]
    mean = np.outer(draw.uniform(2, 9, products), rhythm)
    units = draw.poisson(mean)
    names = [f"p{n:02}" for n in range(products)]
    dates = [date(2024, 9, 23) + timedelta(days=day) for day in range(days)]
    available = np.ones((products, days), int)
    available[0, origin + 2], units[0, origin + 2] = 0, 999
    daily = {
        "product_id": np.repeat(names, days),
        "demand_date": pa.array(dates * products),
        "ordered_units": units.ravel(),
        "stock_units": np.full(products * days, 5.0),
        "was_available": available.ravel(),
    }
    tables = register(con, daily_demand=daily) | {
        "dim_dates": "SELECT DATE '2024-12-25' AS date_day, true AS is_holiday"
    }

    def points(forecast: np.ndarray, known: int = days) -> list[Point]:
        ahead = forecast[:, origin : origin + horizon]
        spread = 1.65 * np.sqrt(ahead) + 0.5
        register(
            con,
            predictions={
                "product_id": np.repeat(names, horizon),
                "as_of_date": pa.array([dates[origin]] * ahead.size),
                "forecast_date": pa.array(dates[origin : origin + horizon] * products),
                "mean_units": ahead.ravel(),
                "low_units": np.maximum(ahead - spread, 0).ravel(),
                "high_units": (ahead + spread).ravel(),
                "demand_model_version": ["4"] * ahead.size,
            },
        )
        seen = {**tables, "daily_demand": f"FROM daily_demand WHERE demand_date < DATE '{dates[0]}' + {known}"}
        return list(realised.of_forecasts(con, "FROM predictions", seen, AS_OF))

    assert points(mean, origin + horizon - 1) == []
    (good,) = points(mean)
    assert (good.as_of, good.version, good.rows) == (dates[origin], "4", products)
    assert passes([good])
    assert figures(good)["total_ratio"].value == pytest.approx(1, abs=0.05), "the day without stock counts nowhere"
    assert figures(good)["interval_coverage"].value == pytest.approx(0.9, abs=0.05)
    assert not passes(points(1.6 * mean))
    assert not passes(points(mean[::-1])), "right in total, and wrong of each product"


def test_fraud_scores_are_judged_once_chargebacks_have_come(con):
    """A tenth are frauds, which the model knows and rules do not; chargebacks come up to four months later."""
    draw = np.random.default_rng(4)
    size = 1500
    is_fraud = draw.random(size) < 0.1
    ids = [f"o{n:04}" for n in range(size)]
    ordered = [date(2025, 1, 1) + timedelta(days=int(day)) for day in draw.integers(0, 31, size)]
    delays = draw.integers(5, fraud.MATURITY_DAYS, size)
    rules = (
        "orders_24h",
        "card_orders_24h",
        "is_sent_elsewhere",
        "amount_to_shop_mean",
        "card_others",
        "device_others",
    )
    back = [n for n in range(size) if is_fraud[n]]
    tables = register(
        con,
        order_risk={
            "order_id": ids,
            "order_date": pa.array(ordered),
            "total_amount": draw.uniform(20, 200, size),
            **{name: draw.integers(0, 4, size).astype(float) for name in rules},
        },
        fct_orders={"order_id": ids, "is_cancelled": [False] * size},
        fct_refunds={
            "order_id": [ids[n] for n in back],
            "refunded_at": [
                datetime.combine(ordered[n], datetime.min.time(), UTC) + timedelta(days=int(delays[n])) for n in back
            ],
            "reason": ["chargeback"] * len(back),
        },
    )

    def points(probability: np.ndarray, data_end: date) -> list[Point]:
        register(
            con,
            predictions={
                "order_id": ids,
                "order_date": pa.array(ordered),
                "fraud_probability": probability,
                "fraud_model_version": ["5"] * size,
            },
        )
        return list(realised.of_fraud(con, "FROM predictions", tables, data_end))

    february = date(2025, 2, 1)
    known = february + timedelta(days=fraud.MATURITY_DAYS)
    sound = np.where(is_fraud, 0.7, 0.03)
    assert points(sound, known - timedelta(days=1)) == [], "chargebacks of the last orders may still come"
    (good,) = points(sound, known)
    assert (good.as_of, good.version, good.rows) == (february, "5", size)
    assert figures(good)["fraud_rate"].value == pytest.approx(is_fraud.mean()), "the late ones are known as well"
    assert passes([good])
    assert not passes(points(np.full(size, 0.1), known)), "it tells nothing apart"
    assert not passes(points(sound / 4, known)), "four times as many came as were expected"


def test_lists_are_judged_by_what_was_bought_in_the_month_after(con):
    """Each customer buys of one shelf of ten products."""
    draw = np.random.default_rng(5)
    customers, shelves = 300, 6
    names = [f"P{n:02}" for n in range(10 * shelves)]
    bought = [
        (customer, 10 * (customer % shelves) + int(draw.integers(10)), int(draw.integers(-60, 30)))
        for customer in range(customers)
        for _ in range(8)
    ]
    tables = register(
        con,
        dim_products={
            "product_id": names,
            "category": ["all"] * len(names),
            "is_current": [True] * len(names),
            "is_active": [True] * len(names),
        },
        fct_order_items={
            "customer_id": [f"c{one[0]:03}" for one in bought],
            "product_id": [names[one[1]] for one in bought],
            "ordered_at": [START + timedelta(days=one[2], hours=2) for one in bought],
            "order_id": [str(n) for n in range(len(bought))],
            "is_cancelled": [False] * len(bought),
        },
    )

    def points(shift: int, data_end: date) -> list[Point]:
        listed = [
            (f"c{customer:03}", names[10 * ((customer + shift) % shelves) + place], place + 1)
            for customer in range(customers)
            for place in range(10)
        ]
        register(
            con,
            predictions={
                "customer_id": [one[0] for one in (*listed, ("nobody", "gone", 1))],
                "product_id": [one[1] for one in (*listed, ("nobody", "gone", 1))],
                "rank": [one[2] for one in (*listed, ("nobody", "gone", 1))],
                "as_of_date": pa.array([AS_OF] * (len(listed) + 1)),
                "recommender_version": ["6"] * (len(listed) + 1),
            },
        )
        return list(realised.of_lists(con, "FROM predictions", tables, data_end))

    known = AS_OF + timedelta(days=realised.LIST_DAYS)
    assert points(0, known - timedelta(days=1)) == []
    (good,) = points(0, known)
    assert (good.as_of, good.version) == (AS_OF, "6")
    assert figures(good)["hit_rate@10"].value == 1, "all that is bought stands in the list"
    assert passes([good])
    (bad,) = points(1, known)
    assert figures(bad)["hit_rate@10"].value == 0
    assert not passes([bad])


def test_two_versions_are_compared_on_the_latest_date_of_both():
    early, late = date(2025, 1, 1), date(2025, 2, 1)
    rows = [
        *rows_of(CHAMPION, [Point(early, "1", 9, (Figure("auc", 0.8), Figure("lift", 2.0)))]),
        *rows_of(CHALLENGER, [Point(early, "2", 9, (Figure("auc", 0.7),)), Point(late, "2", 9, (Figure("auc", 0.6),))]),
    ]
    table = contract("quality", "A figure.").arrow_table(rows)
    assert side_by_side(table, "1", "2") == (early, {"auc": (0.8, 0.7), "lift": (2.0, None)})
    assert side_by_side(table, "1", "3") is None
