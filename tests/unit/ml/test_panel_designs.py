"""Roll-outs: the effects of published designs to the digit, what is refused, and that bad input is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.support.planted_rollouts import one_region, staggered
from cartograph.cli.causal_panel import panel as command
from ml_assets.core.causal.panels.did import assess_did, group_times
from ml_assets.core.causal.panels.synthetic_control import assess_synthetic, convex_weights
from ml_assets.core.causal.panels.table import NEVER, Panel, PanelError, panel


def rows_of(found: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    units, periods = found.outcome.shape
    on = (np.arange(periods) >= found.adoption[:, None]).astype(float)
    return np.repeat(np.arange(units), periods), np.tile(np.arange(periods), units), found.outcome.ravel(), on.ravel()


def test_group_time_effects_are_those_of_callaway_and_santanna() -> None:
    """By hand: two groups, a never treated one; the change from the last untreated period, less that of the others."""
    outcome = np.array([[1.0, 2, 6, 7], [3, 4, 5, 9], [1, 1, 2, 3], [5, 6, 6, 8]])
    found = Panel(tuple("abcd"), tuple(range(4)), outcome, np.array([2, 3, NEVER, NEVER]), np.arange(4))
    cells, effects = group_times(found)
    told = dict(zip(cells, effects.effects.round(9).tolist(), strict=True))
    assert told[2, 2] == pytest.approx((6 - 2) - np.mean([5 - 4, 2 - 1, 6 - 6]))
    assert told[2, 3] == pytest.approx((7 - 2) - np.mean([3 - 1, 8 - 6]))
    assert told[3, 3] == pytest.approx((9 - 5) - np.mean([3 - 2, 8 - 6]))
    assert told[2, 0] == pytest.approx((1 - 2) - np.mean([3 - 4, 1 - 1, 5 - 6]))
    assert (2, 1) not in told


def test_a_staggered_roll_out_is_found() -> None:
    planted = staggered(0)
    found = assess_did(planted.panel)
    assert found.finding.identified, [gate for gate in found.finding.gates if not gate.passed]
    assert all(one.estimate.holds(planted.truth) for one in found.finding.estimates)
    assert found.finding.naive is not None
    assert not found.finding.naive.holds(planted.truth)
    events = {event.periods: event for event in found.events}
    assert events[-1].effect == 0
    assert events[3].low > 0.5
    assert events[3].band_low < events[3].low < events[3].effect < events[3].high < events[3].band_high


def test_units_that_moved_apart_before_are_refused() -> None:
    found = assess_did(staggered(0, drift=0.3).panel)
    gate = found.finding.gate("no_earlier_trend")
    assert gate is not None
    assert not gate.passed
    assert found.pre_trend_p < 0.01
    assert found.finding.verdict == "not identified"


def test_a_level_added_to_units_or_periods_changes_nothing() -> None:
    planted = staggered(1).panel
    draw = np.random.default_rng(0)
    units, periods = planted.outcome.shape
    moved = planted.outcome + 9 * draw.normal(size=(units, 1)) + 9 * draw.normal(size=periods)
    one = assess_did(planted)
    other = assess_did(Panel(planted.units, planted.times, moved, planted.adoption, planted.clusters))
    for before, after in zip(one.finding.estimates, other.finding.estimates, strict=True):
        assert tuple(before.estimate) == pytest.approx(tuple(after.estimate), abs=1e-6)


def test_without_two_periods_before_nothing_shows_that_units_moved_alike() -> None:
    draw = np.random.default_rng(2)
    found = Panel(
        tuple(range(20)), (0, 1, 2), draw.normal(size=(20, 3)), np.where(np.arange(20) < 8, 1, NEVER), np.arange(20)
    )
    gate = assess_did(found).finding.gate("no_earlier_trend")
    assert gate is not None
    assert not gate.passed
    assert "cannot be seen" in gate.detail


def test_rows_of_a_cluster_widen_the_interval() -> None:
    planted = staggered(3).panel
    twice = Panel(
        (*planted.units, *(f"{unit} again" for unit in planted.units)),
        planted.times,
        np.vstack([planted.outcome, planted.outcome]),
        np.tile(planted.adoption, 2),
        np.tile(planted.clusters, 2),
    )
    one, other = (assess_did(found).finding.estimates[0].estimate for found in (planted, twice))
    assert tuple(one) == pytest.approx(tuple(other))


def test_weights_are_the_least_squares_mix() -> None:
    from scipy.optimize import minimize

    draw = np.random.default_rng(4)
    donors, goal = draw.normal(size=(12, 20)).cumsum(axis=1), draw.normal(size=20).cumsum()
    found = convex_weights(donors, goal)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    oracle = minimize(
        lambda w: ((goal - w @ donors) ** 2).sum(),
        np.full(12, 1 / 12),
        bounds=[(0, 1)] * 12,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert ((goal - found @ donors) ** 2).sum() == pytest.approx(oracle.fun, rel=1e-6)


def test_a_region_is_compared_with_its_mix() -> None:
    planted = one_region(0)
    found = assess_synthetic(planted.panel)
    assert found.finding.identified, [gate for gate in found.finding.gates if not gate.passed]
    assert found.finding.effect is not None
    assert found.finding.effect.holds(planted.truth)
    assert found.p <= 0.1
    assert sum(weight for _, weight in found.weights) == pytest.approx(1, abs=1e-2)


def test_a_region_unlike_any_mix_is_refused() -> None:
    found = assess_synthetic(one_region(0, drift=1.0).panel)
    gate = found.finding.gate("fits_before")
    assert gate is not None
    assert not gate.passed


def test_few_donors_or_two_starts_are_no_synthetic_control() -> None:
    planted = one_region(1).panel
    few = assess_synthetic(planted.of(np.arange(8)))
    assert not few.finding.estimates
    assert few.finding.gates[0].name == "arm_sizes"
    with pytest.raises(PanelError, match="Units were treated at 3 times"):
        assess_synthetic(staggered(0).panel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u, t, y, d: (u[1:], t[1:], y[1:], d[1:]), "Unit 0, period 0 has no row"),
        (lambda u, t, y, d: tuple(np.append(x, x[0]) for x in (u, t, y, d)), "more than one row"),
        (lambda u, t, y, d: (u, t, np.where(u == 2, np.nan, y), d), "Unit 2, period 0 has no outcome"),
        (lambda u, t, y, d: (u, t, y, d * 2), "neither 0 nor 1"),
        (lambda u, t, y, d: (u, t, y, np.where(t == 13, 0, d)), "no longer treated in period 13"),
        (lambda u, t, y, d: (u, t, y, d * 0), "No unit is untreated first"),
        (lambda u, t, y, d: (u, t, y, d * 0 + (t >= 5)), "All units are treated at the same time"),
        (lambda u, t, y, d: tuple(x[:0] for x in (u, t, y, d)), "There are no rows"),
    ],
)
def test_what_is_no_panel_is_told(change: object, message: str) -> None:
    rows = rows_of(staggered(0).panel)
    with pytest.raises(PanelError, match=message):
        panel(*change(*rows))  # type: ignore[operator]


def test_a_cluster_that_changes_is_told() -> None:
    rows = rows_of(staggered(0).panel)
    with pytest.raises(PanelError, match="more than one cluster"):
        panel(*rows, clusters=rows[1] % 2)


def test_units_treated_from_the_first_period_on_are_left_out_and_counted() -> None:
    unit, time, outcome, treated = rows_of(staggered(0).panel)
    found = panel(unit, time, outcome, np.where(unit == 0, 1.0, treated))
    assert found.left_out == 1
    assert 0 not in found.units
    assert "from the first period on" in assess_did(found).finding.warnings[0]


def asked(path: Path, *more: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    named = ["--unit", "u", "--time", "t", "--outcome", "y", "--treated", "d"]
    result = CliRunner().invoke(app, ["--data", str(path), *named, *more])
    return result.exit_code, result.output


def written(folder: Path, *, period: str = "{0}", outcome: Callable[[float], float] = float) -> Path:
    """A roll-out of twelve periods, their numbers as `period` has them."""
    rows = zip(*rows_of(staggered(0).panel), strict=True)
    lines = [f"{u},{period.format(t + 1)},{outcome(y)},{int(d)}" for u, t, y, d in rows if t < 12]
    path = folder / "rollout.csv"
    path.write_text("u,t,y,d\n" + "\n".join(lines))
    return path


def test_the_command_answers_a_file(tmp_path: Path) -> None:
    rows = rows_of(staggered(0).panel)
    path = tmp_path / "rollout.csv"
    lines = [f"{u},2024-{t + 1:02d}-01,{y},{int(d)}" for u, t, y, d in zip(*rows, strict=True) if t < 12]
    path.write_text("u,t,y,d\n" + "\n".join(lines))
    code, output = asked(path)
    told = json.loads(output)
    assert code == 0
    assert told["method"] == "did"
    assert told["verdict"] == "identified"
    assert told["question"] == "What did d do to y, on average over those who got it, from then on?"
    assert "(parallel trends)" in told["assumed"]
    assert set(told["first_treated"]) == {"2024-06-01", "2024-09-01", "2024-12-01"}
    assert told["answer"][0] == told["estimates"][0]
    assert told["answer"][0]["ci_low"] < told["answer"][0]["estimate"] < told["answer"][0]["ci_high"]
    assert asked(path, "--method", "synthetic_control")[0] == 2


def test_the_command_takes_few_treated_units_for_a_synthetic_control(tmp_path: Path) -> None:
    path = tmp_path / "region.csv"
    lines = [f"{u},{t},{y},{int(d)}" for u, t, y, d in zip(*rows_of(one_region(0).panel), strict=True)]
    path.write_text("u,t,y,d\n" + "\n".join(lines))
    told = json.loads(asked(path)[1])
    assert told["method"] == "synthetic_control"
    assert told["path"][-1]["time"] == "39"
    assert "follow the mix of untreated ones" in told["assumed"]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rollout.csv"
    path.write_text("u,t,y,d\na,1,x,0\n")
    code, output = asked(path)
    assert code == 2
    assert "column y: it is 'x'" in output


def test_numbers_that_cannot_be_computed_with_are_refused(tmp_path: Path) -> None:
    code, output = asked(written(tmp_path, outcome=lambda y: y * 1e161))
    assert code == 2
    assert "column y: it holds" in " ".join(output.split())
    assert "Write it in another unit." in " ".join(output.split())


def test_an_outcome_that_is_the_same_in_each_row_is_refused(tmp_path: Path) -> None:
    code, output = asked(written(tmp_path, outcome=lambda _: 5.0))
    assert code == 2
    assert "column y: it is 5 in each row. An outcome varies." in " ".join(output.split())


@pytest.mark.parametrize("form", ["{0:02d}.01.2024", "2024-31-{0:02d}", "week {0}", "{0}/2024"])
def test_periods_whose_order_is_not_known_are_refused(tmp_path: Path, form: str) -> None:
    code, output = asked(written(tmp_path, period=form))
    told = " ".join(output.split())
    assert code == 2
    assert f"line 2, column t: it is '{form.format(1)}'" in told
    assert "a date such as 2024-01-31" in told


@pytest.mark.parametrize("form", ["2024-{0:02d}", "2024-W{0:02d}", "2024-{0:02d}-01 00:00:00"])
def test_periods_may_be_months_weeks_and_times(tmp_path: Path, form: str) -> None:
    assert form.format(6) in json.loads(asked(written(tmp_path, period=form))[1])["first_treated"]
