"""Lifetime values on a shop whose rates are known: they beat their baselines, come close to the oracle, and repeat."""

from __future__ import annotations

from datetime import date, timedelta

import dagster as dg
import numpy as np
import pytest

from ecom_assets.simulator import SimulatorConfig, people
from ecom_assets.simulator.world import World
from ml_assets.core.evaluation.values import mean_absolute_error
from ml_assets.core.features.customers import OPTIONAL_MARTS, REQUIRED_MARTS, feature_table
from ml_assets.core.models import clv, gamma_gamma, order_clock
from ml_assets.core.models.bg_nbd import DAYS_IN_UNIT
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.lifetime_values import CONTRACT, lifetime_values
from ml_assets.core.models.order_clock import OrderDays
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.customer_lifetime_value import judge
from tests.model.planted import END_DAY, START, date_of

DATES = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(1, 22)]


@pytest.fixture(scope="module")
def tables(con, marts) -> tuple[str, dict[str, str]]:
    chosen = {name: marts[name] for name in (*REQUIRED_MARTS, *OPTIONAL_MARTS) if name in marts}
    con.register("clv_feature_rows", feature_table(con, chosen, DATES))
    return "FROM clv_feature_rows", chosen


@pytest.fixture(scope="module")
def trained(con, tables) -> clv.Trained:
    return clv.train(con, *tables, DATES, data_start=START, data_end=date_of(END_DAY))


def registered(trained: clv.Trained) -> Registered:
    return Registered(clv.NAME, "1", trained.model.to_bytes(), trained.card)


def test_it_passes_its_checks(trained):
    passed = {check.check_name for check in judge(trained) if check.passed}
    assert passed >= {"has_enough_data", "beats_own_rate", "beats_last_period"}
    assert trained.scores.gini > 0.5


@pytest.mark.parametrize(
    ("usual", "passed"),
    [
        (lambda actual, _: actual, False),
        (lambda _, predicted: predicted, False),
        (lambda actual, predicted: actual + 1.5 * (predicted - actual), True),
    ],
    ids=["worse", "the same", "better"],
)
def test_the_best_baseline_is_beaten_beyond_chance_or_that_is_told(trained, usual, passed):
    """0.65 of the error of one's own rate is reached on Online Retail, where the last period errs less still."""
    last = usual(trained.actual, trained.predicted)
    held = trained._replace(
        usual=trained.usual | {"last_period": last},
        baselines=trained.baselines | {"last_period": mean_absolute_error(trained.actual, last)},
    )
    (found,) = (check for check in judge(held) if check.check_name == "beats_last_period")
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)


def test_it_comes_close_to_one_who_knows_each_customers_rates(con, tables, trained, shop):
    """The oracle knows each customer's rates, of ordering and of leaving, from the start; the model has to infer them.

    Customers of this shop leave at any time and not after an order, as the model has it: its total is the worse for it.
    """
    features, marts = tables
    rows = clv.ordered_rows(con, features, trained.holdout)
    customers = clv.known(rows, trained.holdout)
    chosen = np.array([int(customer[1:]) for customer in rows["customer_id"].to_pylist()])
    rate, drop = shop.order_rate[chosen], shop.drop_rate[chosen]
    alive = 1 / (1 + drop / (rate + drop) * np.expm1((rate + drop) * customers.recency))
    oracle = alive * rate / drop * -np.expm1(-drop * clv.HOLDOUT_DAYS)
    actual, _, _ = clv.outcomes(con, features, marts, trained.holdout, clv.HOLDOUT_DAYS)
    assert trained.orders.mae <= 1.25 * mean_absolute_error(actual, oracle)
    assert trained.orders.total_ratio == pytest.approx(oracle.sum() / actual.sum(), abs=0.2)


def test_the_parameters_that_the_simulator_plants_are_found():
    """Gamma rates and a beta chance to leave after an order, on a clock with seasons and campaigns: within a tenth.

    Of 5,000 customers chance alone moves a and b, together, by a quarter: one seed has 0.81 and 6.7 for 1 and 9.
    """
    end = date(2026, 1, 1)
    world = World(SimulatorConfig(customers=20_000, seed=7, start=START, end=end))
    customer, day = world.customer_number(world.skeleton.person), world.calendar.day_of(world.skeleton.time)
    days = np.unique(np.column_stack([customer, day])[customer >= 0], axis=0)
    today = (end - START).days
    _, found = order_clock.fit(OrderDays(days[:, 0], days[:, 1]), today, today)
    planted = people.RATE_SHAPE, people.RATE_SCALE_DAYS / DAYS_IN_UNIT, people.DROPOUT_A, people.DROPOUT_B
    assert found == pytest.approx(planted, rel=0.1)


def test_a_second_training_gives_the_same_bytes(con, tables, trained):
    again = clv.train(con, *tables, DATES, data_start=START, data_end=date_of(END_DAY))
    assert again.model.to_bytes() == trained.model.to_bytes()


def test_what_was_exported_predicts_alone(con, tables, trained):
    features, _ = tables
    as_of = trained.model.as_of
    table = lifetime_values(con, features, registered(trained), as_of)
    values = clv.predict(trained.model, clv.known(clv.ordered_rows(con, features, as_of), as_of))
    assert table.schema == CONTRACT.arrow_schema()
    assert table["lifetime_value_amount"].to_pylist() == values.value.tolist()
    assert (values.orders_365d > values.orders_90d).all()
    assert (values.value < values.revenue).all()


def test_what_is_worth_more_by_the_season_is_expected_to_be(trained):
    """A customer who has spent the same when orders were cheap is worth more than one who did when they were dear."""
    as_of = trained.model.as_of
    today = (as_of - START).days
    dear = np.where(np.arange(len(trained.model.speed)) < today - 100, 1.0, 2.0)
    own = gamma_gamma.Parameters(40.0, 3.0, 1.5)  # of which customers' own means tell nearly all
    alike = trained.model.model_copy(update={"price_level": (), "spend": own})
    model = alike.model_copy(update={"price_level": tuple(dear)})
    customers = clv.Known(as_of, *(np.array(each) for each in ([3, 3], [300, 90], [150, 80])), np.array([90.0, 90.0]))
    before, now = clv.predict(alike, customers), clv.predict(model, customers)
    assert now.orders_365d.tolist() == before.orders_365d.tolist()
    assert before.amount == pytest.approx(30, rel=0.02)
    assert now.amount == pytest.approx([60, 30], rel=0.02)
    assert (now.revenue / now.amount).tolist() == pytest.approx((before.revenue / before.amount).tolist())


def test_without_a_model_nobody_has_a_value(con, tables, trained):
    assert len(lifetime_values(con, tables[0], None, trained.model.as_of)) == 0


def test_a_model_that_is_too_old_is_not_used(con, tables, trained):
    short = trained.model.model_copy(update={"speed": trained.model.speed[:700]})
    old = registered(trained)._replace(content=short.to_bytes())
    with pytest.raises(NoModel, match="Train it again: materialize models/customer_lifetime_value"):
        lifetime_values(con, tables[0], old, trained.model.as_of)


def test_nothing_after_the_as_of_date_changes_a_model(con, tables):
    features, marts = tables
    as_of = DATES[-8]
    cut = marts | {
        "fct_orders": f"SELECT * FROM ({marts['fct_orders']}) WHERE ordered_at < TIMESTAMPTZ '{as_of} 00:00:00+00'",
        "fct_order_items": f"SELECT * FROM ({marts['fct_order_items']}) "
        f"WHERE ordered_at < TIMESTAMPTZ '{as_of} 00:00:00+00'",
    }
    assert clv.fit(con, features, cut, as_of, START) == clv.fit(con, features, marts, as_of, START)


@pytest.mark.parametrize(
    ("spend", "message"),
    [
        ("0.0", "Nobody has spent more than nothing on average"),
        ("exp(exp(hash(customer_id) / 2.0 ** 64 * 4))", "so much between customers that it has no mean"),
    ],
)
def test_amounts_that_have_no_mean_make_no_model_and_say_why(con, tables, spend, message):
    features, marts = tables
    odd = f"SELECT * REPLACE (CAST({spend} AS DOUBLE) * order_days_count AS spend_amount) FROM ({features})"
    with pytest.raises(NotEnoughData, match=message):
        clv.train(con, odd, marts, DATES, data_start=START, data_end=date_of(END_DAY))


@pytest.mark.parametrize(
    ("end", "message"),
    [(START + timedelta(days=200), "180 after it"), (START + timedelta(days=275), "customers who ordered on two days")],
)
def test_a_young_shop_is_told_what_lacks(con, tables, monkeypatch, end, message):
    monkeypatch.setattr(clv, "FEWEST_REPEAT_CUSTOMERS", 10_000)
    with pytest.raises(NotEnoughData, match=message):
        clv.train(con, *tables, DATES, data_start=START, data_end=end)
