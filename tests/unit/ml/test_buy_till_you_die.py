"""BG/NBD, Gamma-Gamma and the order clock: planted parameters are found again, and the formulas agree with draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.core.models import bg_nbd, gamma_gamma, order_clock
from ml_assets.core.models.bg_nbd import Histories, Parameters
from ml_assets.core.models.order_clock import OrderDays

PLANTED = Parameters(1.2, 2.0, 1.5, 4.0)
CDNOW = Parameters(0.243, 4.414, 0.793, 2.426)
"""The parameters that the paper gives for the CDNOW sample, in weeks."""


def drawn(parameters: Parameters, customers: int, observed: float, more: float) -> tuple[Histories, np.ndarray]:
    """Histories of customers who behave as `parameters` say, and their orders in the `more` time after."""
    draw = np.random.default_rng(3)
    r, alpha, a, b = parameters
    rate, leaves = draw.gamma(r, 1 / alpha, customers), draw.beta(a, b, customers)
    repeats, last, clock, later = (np.zeros(customers) for _ in range(4))
    active = np.ones(customers, bool)
    while active.any():
        clock = clock + draw.exponential(1 / rate)
        known = active & (clock < observed)
        repeats[known] += 1
        last[known] = clock[known]
        later[active & (clock >= observed) & (clock < observed + more)] += 1
        active &= (clock < observed + more) & (draw.random(customers) >= leaves)
    return Histories(repeats, last, np.full(customers, observed)), later


@pytest.fixture(scope="module")
def world() -> tuple[Histories, np.ndarray]:
    return drawn(PLANTED, 40_000, 20.0, 6.0)


def test_planted_parameters_are_found_again_within_a_tenth(world):
    assert bg_nbd.fit(world[0]) == pytest.approx(PLANTED, rel=0.1)


def test_no_other_parameters_are_likelier(world):
    found = bg_nbd.fit(world[0])
    best = bg_nbd.log_likelihood(found, world[0])
    for position in range(4):
        for factor in (0.97, 1.03):
            other = Parameters(*(v * factor if i == position else v for i, v in enumerate(found)))
            assert bg_nbd.log_likelihood(other, world[0]) < best


def test_expected_orders_are_those_that_come(world):
    histories, later = world
    expected = bg_nbd.expected_orders(PLANTED, histories, 6.0)
    assert expected.sum() == pytest.approx(later.sum(), rel=0.03)
    for repeats in range(4):
        same = histories.repeats == repeats
        assert expected[same].mean() == pytest.approx(later[same].mean(), rel=0.1)
    silent = bg_nbd.no_order_probability(PLANTED, histories, 6.0)
    assert silent.mean() == pytest.approx((later == 0).mean(), abs=0.01)


def test_the_papers_own_example():
    """A customer with 2 repeat orders, the last in week 30.43 of 38.86, will place 1.226 in the next 39 weeks."""
    history = Histories(np.array([2.0]), np.array([30.43]), np.array([38.86]))
    assert bg_nbd.expected_orders(CDNOW, history, 39.0)[0] == pytest.approx(1.226, abs=0.001)


@given(st.floats(-3e-5, 3e-5))
def test_a_chance_to_leave_near_the_pole_is_as_any_other(distance):
    """Equation (10) divides by a - 1."""
    history = Histories(np.array([0.0, 3.0, 200.0]), np.array([0.0, 9.0, 24.0]), np.array([4.0, 10.0, 24.5]))
    near = bg_nbd.expected_orders(Parameters(1.0, 0.5, 1 + distance, 9.0), history, 12.0)
    beside = bg_nbd.expected_orders(Parameters(1.0, 0.5, 1.001, 9.0), history, 12.0)
    assert near == pytest.approx(beside, rel=2e-3)


@given(st.floats(30, 5000), st.floats(0.02, 0.9), st.integers(1, 200), st.floats(1, 40), st.floats(0.1, 20))
def test_customers_who_leave_alike_order_as_with_that_one_chance(tens, chance, repeats, observed, time):
    """Where `a` is in the hundreds, equation (10) has factors of 0 and infinity; its limit has none."""
    parameters = Parameters(1.0, 0.7, 10 * tens, 10 * tens * (1 / chance - 1))
    history = Histories(np.array([float(repeats)]), np.array([observed]), np.array([observed]))
    expected = bg_nbd.expected_orders(parameters, history, time)[0] / bg_nbd.alive_probability(parameters, history)[0]
    p = parameters.a / (parameters.a + parameters.b + repeats)
    limit = (1 - (1 + p * time / (0.7 + observed)) ** -(1.0 + repeats)) / p
    assert expected == pytest.approx(limit, rel=0.01)


@given(st.integers(0, 400), st.floats(0.1, 50), st.floats(0, 50), st.floats(0.01, 30))
def test_more_time_brings_more_orders_and_longer_silence_fewer_alive(repeats, last, silence, time):
    history = Histories(*(np.array([v]) for v in (float(repeats), last if repeats else 0.0, last + silence)))
    later = history._replace(observed=history.observed + 1)
    sooner, in_the_end = (bg_nbd.expected_orders(PLANTED, history, span)[0] for span in (time, time + 1))
    assert 0 <= sooner <= in_the_end
    assert bg_nbd.alive_probability(PLANTED, later)[0] <= bg_nbd.alive_probability(PLANTED, history)[0]
    longer, shorter = (bg_nbd.no_order_probability(PLANTED, one, time)[0] for one in (later, history))
    assert longer >= shorter - 1e-12


def test_planted_spend_is_found_again_in_any_currency():
    draw = np.random.default_rng(5)
    p, q, gamma, customers = 4.0, 5.0, 58.0, 30_000
    orders = draw.integers(1, 12, customers).astype(np.float64)
    rate = draw.gamma(q, 1 / gamma, customers)
    mean = draw.gamma(p * orders) / rate / orders
    found = gamma_gamma.fit(orders, mean)
    assert found == pytest.approx((p, q, gamma), rel=0.1)
    assert found.mean == pytest.approx(p * gamma / (q - 1), rel=0.02)
    in_yen = gamma_gamma.fit(orders, mean * 160)
    assert in_yen == pytest.approx((found.p, found.q, found.gamma * 160), rel=1e-3)
    expected = gamma_gamma.expected_spend(found, orders, mean)
    truth = p / rate
    assert np.mean((expected - truth) ** 2) < 0.8 * np.mean((mean - truth) ** 2)


def test_spend_is_drawn_towards_the_mean_of_all_the_less_the_more_orders_tell():
    found = gamma_gamma.Parameters(4.0, 5.0, 58.0)
    expected = gamma_gamma.expected_spend(found, np.array([0.0, 1.0, 50.0]), np.array([0.0, 200.0, 200.0]))
    assert expected[0] == pytest.approx(found.mean)
    assert found.mean < expected[1] < expected[2] < 200
    with pytest.raises(ValueError, match="no mean"):
        gamma_gamma.expected_spend(found._replace(q=0.9), np.array([1.0]), np.array([1.0]))


def seasonal_orders(days: int) -> tuple[OrderDays, np.ndarray]:
    """A shop whose customers come at steady rates on a clock that runs 1.6 times as fast in December as in June."""
    draw = np.random.default_rng(11)
    day = np.arange(days)
    speed = 1 + 0.25 * np.cos(2 * np.pi * (day - 345) / 365.25) + 0.1 * (day % 7 == 5)
    clock = np.concatenate([[0.0], np.cumsum(speed)])
    customers = 3000
    moment = np.sort(draw.random(customers)) * clock[-1] * 0.6
    rate, leaves = draw.gamma(1.0, 1 / 20, customers), draw.beta(1.0, 9.0, customers)
    found, active = [], np.arange(customers)
    while len(active):
        found.append((active, np.searchsorted(clock, moment[active], side="right") - 1))
        stays = draw.random(len(active)) >= (leaves[active] if len(found) > 1 else 0)
        active = active[stays]
        moment[active] += draw.exponential(1 / rate[active])
        active = active[moment[active] < clock[-1]]
    pairs = np.unique(np.concatenate([np.column_stack(part) for part in found]), axis=0)
    return OrderDays(pairs[:, 0], pairs[:, 1]), speed


def test_the_clock_runs_as_the_shop_does_and_mends_the_forecast_of_a_season():
    orders, speed = seasonal_orders(850)
    today, ahead = 700, 60  # from December on, in the second year
    clock, rates = order_clock.fit(orders, today, today + ahead)
    weeks = clock.speed[28 : today + ahead - 4].reshape(-1, 7).mean(axis=1)
    true_weeks = speed[28 : today + ahead - 4].reshape(-1, 7).mean(axis=1)
    assert np.corrcoef(weeks, true_weeks)[0, 1] > 0.95
    span = order_clock.spans(orders.before(today))
    later = ((orders.day >= today) & (orders.day < today + ahead) & np.isin(orders.customer, span.customer)).sum()

    def predicted(clock: order_clock.Clock, rates: Parameters) -> float:
        passed = clock.at(np.array([today, today + ahead]))
        histories = order_clock.histories(span, clock, today)
        return float(bg_nbd.expected_orders(rates, histories, float(passed[1] - passed[0])).sum())

    calendar = order_clock.calendar(today + ahead)
    without = predicted(calendar, bg_nbd.fit(order_clock.histories(span, calendar, today)))
    assert abs(predicted(clock, rates) / later - 1) < 0.06
    assert abs(without / later - 1) > 2 * abs(predicted(clock, rates) / later - 1)


def test_with_less_than_a_year_the_clock_is_the_calendar():
    orders, _ = seasonal_orders(360)
    clock, _ = order_clock.fit(orders, 300, 330)
    assert (clock.speed == 1).all()


def dear_orders(days: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders and totals of a shop whose orders are a fifth dearer in December and a tenth each year, and that level."""
    draw, day = np.random.default_rng(13), np.arange(days)
    level = np.exp(0.2 * np.cos(2 * np.pi * (day - 345) / 365.25) + 0.1 * day / 365)
    orders = draw.poisson(40, days).astype(np.float64)
    return orders, level * draw.gamma(2 * orders, 30.0), level


def test_the_season_and_the_trend_of_what_orders_are_worth_are_found():
    orders, totals, level = dear_orders(850)
    found = order_clock.price_level(orders[:700], totals[:700], 850)
    assert np.average(found[:700], weights=orders[:700]) == pytest.approx(1)
    planted = level / np.average(level[:700], weights=orders[:700])
    assert np.abs(found / planted - 1).mean() < 0.03, "in the 150 days that are not known, too"
    in_yen = order_clock.price_level(orders[:700], 160 * totals[:700], 850)
    assert in_yen == pytest.approx(found)


@pytest.mark.parametrize(("days", "worth"), [(300, 1.0), (700, 0.0)])
def test_prices_are_alike_in_a_first_year_and_where_nothing_is_paid(days, worth):
    orders, totals, _ = dear_orders(days)
    assert (order_clock.price_level(orders, worth * totals, days + 30) == 1).all()


def test_the_mean_of_prices_counts_busy_days_for_more():
    prices = order_clock.Prices(order_clock.Clock(np.array([1.0, 3.0, 1.0])), np.array([1.0, 2.0, 9.0]))
    first, last = np.array([0, 0, 2]), np.array([0, 1, 2])
    assert prices.mean(first, last) == pytest.approx([1.0, 7 / 4, 9.0])
