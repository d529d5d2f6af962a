"""How sure the experiments' core is of itself, in small (in full: `benchmarks/experiments.py`), and the shop's own."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks.support.simulated_experiments import (
    EFFECTS,
    KINDS,
    family_errors,
    fixed,
    growing,
    mismatches,
    peeked,
    variance_taken,
)
from cartograph.releases.contents.experiments import ExperimentResult
from ml_assets.core.experiments.form import read_experiment
from ml_assets.core.experiments.report import report, unsound
from tests.model.simulated import simulated_marts

RUNS, UNITS = 300, 2800
FILES = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def within(rate: float, expected: float, runs: int = RUNS) -> bool:
    """Whether a share of `runs` is what chance makes of the expected one, in 999 of 1,000 cases."""
    return bool(abs(rate - expected) < 3.3 * np.sqrt(expected * (1 - expected) / runs))


@pytest.mark.parametrize("kind", list(KINDS))
def test_false_finds_and_coverage_are_as_promised(kind):
    draw = np.random.default_rng(8)
    null, planted = KINDS[kind](draw, RUNS, UNITS), KINDS[kind](draw, RUNS, UNITS, EFFECTS[kind])
    assert within(fixed(null).significant, 0.05)
    assert within(fixed(planted).covers, 0.95)
    daily = peeked(null)
    assert daily.significant <= 0.05
    assert daily.naive > 0.15, "looking each day without such intervals makes false finds"
    assert peeked(planted).covers >= 0.95


def test_outcomes_that_go_on_growing_make_no_more_false_finds():
    daily = growing(np.random.default_rng(9), RUNS, 500)
    assert daily.significant <= 0.05
    assert daily.naive > 0.15


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_cuped_takes_the_square_of_the_correlation(rho):
    assert variance_taken(np.random.default_rng(10), 100_000, rho) == pytest.approx(rho**2, abs=0.02)


def test_a_planted_mismatch_is_found_and_a_fair_split_is_not():
    draw = np.random.default_rng(11)
    assert mismatches(draw, RUNS, 20_000, 0.52) >= 0.95
    assert mismatches(draw, 2000, 20_000, 0.5) <= 0.004


def test_many_metrics_and_variants_make_no_more_false_finds():
    rates = [family_errors(np.random.default_rng(12), RUNS, 1200, how) for how in ("holm", "none")]
    assert rates[0] <= 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / RUNS)
    assert rates[1] > 0.2


@pytest.fixture(scope="module")
def results() -> dict[str, ExperimentResult]:
    """The shipped experiments on the simulated shop, with a visit before each order and some without one."""
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET TimeZone = 'UTC'")
    marts = simulated_marts(con, customers=5000, end=date(2026, 1, 1))
    con.execute("""
        CREATE TABLE fct_sessions AS SELECT customer_id, ordered_at - INTERVAL 1 MINUTE AS started_at FROM fct_orders
        UNION ALL SELECT customer_id, ordered_at - INTERVAL 2 DAY FROM fct_orders WHERE hash(order_id) % 3 > 0""")
    marts["fct_sessions"] = "SELECT * FROM fct_sessions"
    found = {path.stem: report(con, marts, read_experiment(path), "EUR").result for path in FILES}
    truth = con.execute("SELECT experiment_id, order_lift, spend_lift FROM truth_experiments").fetchall()
    assert {row[0] for row in truth} == set(found)
    for name, order_lift, spend_lift in truth:
        (orders,) = (one for one in found[name].estimates if one.metric == "orders")
        assert orders.relative_low < order_lift < orders.relative_high, name
        revenue = next(one for one in found[name].estimates if one.metric == "net_revenue")
        lift = (1 + order_lift) * (1 + spend_lift) - 1
        assert revenue.relative_low < lift < revenue.relative_high, name
    return found


def test_the_shops_experiments_are_sound_and_hold_the_planted_effects(results):
    for found in results.values():
        assert found.state == "complete"
        assert all(check.passed for check in found.integrity)
        assert unsound(found) == []
        assert found.memo


def test_what_was_planted_to_help_ships_and_what_does_nothing_does_not(results):
    assert (results["checkout_redesign"].verdict, results["checkout_redesign"].choice) == ("ship", "treatment")
    assert results["homepage_layout"].verdict != "ship"
    assert all(
        one.adjusted_p_value is None or one.adjusted_p_value > 0.05 for one in results["homepage_layout"].estimates
    )
