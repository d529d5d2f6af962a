"""Champion and challenger of fraud and demand: where they meet, and that a worse challenger is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.core.evaluation.classification import Interval, calibration_bins, calibration_error
from ml_assets.core.evaluation.promotion import STALE_DAYS, Contest, NotComparable, judge
from ml_assets.core.models import classifier, contests, export, fraud, fraud_training, propensity
from ml_assets.core.models.contests import classifier_contest, demand_contest, fraud_contest
from ml_assets.core.models.demand.daily import Demand
from ml_assets.core.models.demand.forecaster import Parameters, fit
from ml_assets.core.models.demand.training import NAME as DEMAND
from ml_assets.core.models.demand.training import WINDOWS
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.fraud_training import Trained, train_fraud
from ml_assets.core.models.training import Exported
from ml_assets.core.registry import NoModel, Registered
from tests.unit.ml.demand import planted

START = date(2024, 1, 1)
DAYS, MIDDLE = 700, 560


@pytest.fixture(scope="module")
def orders() -> tuple[duckdb.DuckDBPyConnection, tuple[str, str, str]]:
    """7,000 orders, of which velocity and amount tell the frauds; chargebacks come within two months."""
    draw = np.random.default_rng(6)
    size = 7000
    day = np.sort(draw.integers(0, DAYS, size))
    amount, velocity = draw.lognormal(4, 0.6, size), draw.poisson(0.4, size)
    chance = 1 / (1 + np.exp(5.5 - 1.6 * velocity - 0.012 * amount))
    charged = draw.random(size) < chance
    ids = np.char.add("o", np.arange(size).astype(str))
    dates = [START + timedelta(days=int(one)) for one in day]
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    unknown = ("card_orders_24h", "is_sent_elsewhere", "card_others", "device_others")
    con.register("risk", pa.table({
        "order_id": ids, "order_date": pa.array(dates), "customer_id": ids, "total_amount": amount,
        "orders_24h": velocity.astype(float), "amount_to_shop_mean": amount / amount.mean(),
        **{name: draw.integers(0, 3, size).astype(float) for name in unknown},
    }))  # fmt: skip
    con.register("orders", pa.table({"order_id": ids, "is_cancelled": np.zeros(size, bool)}))
    back = np.flatnonzero(charged)
    moments = [
        datetime.combine(dates[n], datetime.min.time(), UTC) + timedelta(days=int(draw.integers(1, 60))) for n in back
    ]
    reasons = ["chargeback"] * len(back)
    con.register("refunds", pa.table({"order_id": ids[back], "refunded_at": moments, "reason": reasons}))
    return con, ("FROM risk", "FROM orders", "FROM refunds")


def trained_until(orders, days: int) -> Trained:
    con, tables = orders
    return train_fraud(con, *tables, data_start=START, data_end=START + timedelta(days=days))


def champion_of(trained: Trained) -> Registered:
    return Registered(fraud.NAME, "1", trained.form.content, trained.card)


def test_fraud_models_meet_on_the_holdout_of_the_later_one_and_a_worse_one_is_refused(orders, monkeypatch):
    con, tables = orders
    early, late = trained_until(orders, MIDDLE), trained_until(orders, DAYS)
    contest = fraud_contest(con, *tables, late, champion_of(early))
    assert contest.window == (late.split.holdout, late.split.until)
    assert contest.challenger.mean() == pytest.approx(late.scores.brier)
    assert contest.newer_days == DAYS - MIDDLE
    assert judge(contest).outcome != "refused"
    with pytest.raises(NotComparable, match=r"holdout of .* is earlier"):
        fraud_contest(con, *tables, early, champion_of(late))

    sound = fraud.train
    mixed = lambda rows: rows.set_column(  # noqa: E731 - the labels of other orders
        rows.schema.get_field_index(fraud.LABEL),
        fraud.LABEL,
        pa.array(np.random.default_rng(1).permutation(fraud.target(rows))),
    )
    monkeypatch.setattr(fraud, "train", lambda rows, names: sound(mixed(rows), names))
    monkeypatch.setattr(fraud_training, "advantage", lambda *_: Interval(0.2, 0.1, 0.3))  # else it were no challenger
    found = judge(fraud_contest(con, *tables, trained_until(orders, DAYS), champion_of(early)))
    assert found.outcome == "refused"
    assert found.evidence["challenger_loss"] > found.evidence["champion_loss"]


def test_a_fraud_model_that_chance_may_explain_is_none(orders, monkeypatch):
    """As good as the rules, to the digit; half of all models that know nothing more rank a little better."""
    con, tables = orders
    monkeypatch.setattr(export, "predict", lambda _, matrix: np.zeros(len(matrix)))
    monkeypatch.setattr(fraud, "rules_fired", lambda rows: np.zeros(len(rows)))
    with pytest.raises(NotEnoughData, match=r"not shown to be better than the rules: .* may be chance among"):
        train_fraud(con, *tables, data_start=START, data_end=START + timedelta(days=DAYS))


RARE_ROWS = 20_000


@pytest.fixture(scope="module")
def rare() -> tuple[duckdb.DuckDBPyConnection, np.ndarray, np.ndarray]:
    """20,000 customers of whom one in a hundred will order, and what tells each one's chance: z, and an offset."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=RARE_ROWS)
    chance = 1 / (1 + np.exp(5.6 - 1.5 * z))
    ids = np.char.mod("c%05d", np.arange(RARE_ROWS))
    con = duckdb.connect()
    con.register("customers", pa.table({
        "customer_id": ids, "as_of_date": [START] * RARE_ROWS,
        **{name: np.zeros(RARE_ROWS) for name in ("tenure_days", "loyalty_rank", "email_opt_in")},
    }))  # fmt: skip
    came = ids[draw.random(RARE_ROWS) < chance]
    orders = {"customer_id": came, "ordered_at": [START] * len(came), "is_cancelled": [False] * len(came)}
    con.register("came", pa.table(orders))
    return con, z, chance


def rare_contest(rare, monkeypatch, before, after, as_of) -> Contest:
    """What both predict of the customers who rarely order, where the champion has learned from what was there then."""
    monkeypatch.setattr(contests, "probabilities", lambda *_: before)
    monkeypatch.setattr(contests, "predictor", lambda _: lambda matrix: after[: len(matrix)])
    question = replace(propensity.QUESTION, population="true")
    split = classifier.Split((START,), START)
    trained = SimpleNamespace(question=question, split=split, names=("tenure_days",), form=Exported(b"", 0.0, 1))
    card = {"name": propensity.NAME, "as_of": as_of, "features": [], "metrics": {}, "baseline_metrics": {}}
    champion = Registered(propensity.NAME, "1", b"", card)
    return classifier_contest(rare[0], "FROM customers", "FROM came", trained, champion)


@pytest.mark.parametrize(
    ("challenger", "outcome"),
    [("constant", "refused"), ("worse ranking", "refused"), ("too high", "refused"), ("as good", "promoted")],
)
def test_of_rare_labels_only_a_sound_challenger_takes_a_stale_champions_place(rare, monkeypatch, challenger, outcome):
    """A squared error of 0.0099 is that of knowing nothing, and a mean error of 0.03 is three times all there is."""
    _, z, chance = rare
    noise = np.random.default_rng(1).normal(size=RARE_ROWS)
    after = {
        "constant": np.full(RARE_ROWS, chance.mean()) + 1e-9 * noise,
        "worse ranking": 1 / (1 + np.exp(4.65 - 0.4 * (0.5 * z + 0.87 * noise))),
        "too high": chance + 0.028,
        "as good": chance * np.exp(0.05 * noise),
    }[challenger]
    contest = rare_contest(rare, monkeypatch, chance, after, "2023-06-01")
    assert contest.newer_days >= STALE_DAYS
    assert judge(contest).outcome == outcome, judge(contest).reason


@pytest.mark.parametrize(("as_of", "outcome"), [("2023-12-01", "kept"), ("2023-06-01", "promoted")])
def test_a_challenger_that_is_equal_but_for_rounding_is_no_worse_than_a_champion_that_knows_nothing(
    rare, monkeypatch, as_of, outcome
):
    rate = np.full(RARE_ROWS, 0.02)
    contest = rare_contest(rare, monkeypatch, rate, rate + 1e-8, as_of)
    assert contest.challenger.mean() > contest.champion.mean()
    assert judge(contest).outcome == outcome, judge(contest).reason


@pytest.mark.parametrize(("rate", "rows"), [(0.4, 3000), (0.2, 100_000), (0.01, 20_000), (0.01, 500), (0.4, 300)])
def test_a_calibrated_model_is_within_what_is_tolerated(rate, rows):
    draw, tolerated = np.random.default_rng(3), classifier.tolerated_error(rate, rows)
    chance = draw.beta(1, 1 / rate - 1, rows)
    found = [
        calibration_error(calibration_bins((draw.random(rows) < chance).astype(np.int64), chance)) for _ in range(200)
    ]
    assert np.mean(np.array(found) <= tolerated) >= 0.95


@pytest.mark.parametrize(("rate", "tolerated"), [(0.4, 0.02), (0.01, 0.002)])
def test_of_many_rows_no_more_is_tolerated_than_the_bar_or_a_share_of_the_rarer_label(rate, tolerated):
    assert classifier.tolerated_error(rate, 10**8) == pytest.approx(tolerated)


HORIZON, SERIES, PERIODS = 14, 60, 330
SMALL = Parameters(trees=20, rows=8_000)


@pytest.fixture(scope="module")
def demand() -> Demand:
    """Sixty products; the days after the origin are known to be days, and nothing else of them is."""
    panel = planted(series=SERIES, periods=PERIODS, uplift=1.0).panel
    return Demand(panel.until(PERIODS - HORIZON), PERIODS - HORIZON, np.full(SERIES, np.nan))


def forecaster_of(demand: Demand, days_before: int, horizon: int = HORIZON) -> Registered:
    origin = demand.origin - days_before
    content = fit(demand.panel, origin, horizon, SMALL).to_text().encode()
    as_of = demand.panel.dates[origin].item().isoformat()
    card = {"name": DEMAND, "as_of": as_of, "features": [], "metrics": {}, "baseline_metrics": {}}
    return Registered(DEMAND, "1", content, card)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contests, "PARAMETERS", SMALL)


@pytest.mark.usefixtures("small")
def test_forecasts_meet_in_the_windows_after_the_champion(demand):
    contest = demand_contest(demand, HORIZON, forecaster_of(demand, 2 * HORIZON))
    first = demand.panel.dates[demand.origin - 2 * HORIZON].item()
    assert contest.window == (first, first + timedelta(days=2 * HORIZON))
    assert len(contest.champion) == 2 * SERIES
    assert np.array_equal(contest.champion, contest.challenger), "the same method, with what the champion knew"
    assert judge(contest).outcome == "kept"
    assert judge(contest._replace(newer_days=STALE_DAYS)).outcome == "promoted"
    with pytest.raises(NotComparable, match="since then there is 27 days of orders"):
        demand_contest(demand, HORIZON, forecaster_of(demand, 2 * HORIZON - 1))
    with pytest.raises(NoModel, match="forecasts 7 days, and 14 are needed now"):
        demand_contest(demand, HORIZON, forecaster_of(demand, WINDOWS * HORIZON, horizon=7))


@pytest.mark.usefixtures("small")
def test_a_forecaster_that_learned_of_other_products_is_refused(demand, monkeypatch):
    champion, sound = forecaster_of(demand, WINDOWS * HORIZON), contests.fit
    mixed = demand.panel.quantity[:, np.random.default_rng(1).permutation(PERIODS)]

    def worse(panel, origin, horizon, parameters):
        return sound(replace(panel, quantity=np.nan_to_num(mixed) * 1.5), origin, horizon, parameters)

    monkeypatch.setattr(contests, "fit", worse)
    found = judge(demand_contest(demand, HORIZON, champion))
    assert found.outcome == "refused"
    assert found.evidence["challenger_loss"] > found.evidence["champion_loss"]
