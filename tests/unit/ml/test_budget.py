"""The advertising budget: its panel, curves and limits, and what is said of data that tell nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.support.planted_channels import planted_channels
from ml_assets.core.budget import pictures
from ml_assets.core.budget.allocation import Curves, Limits, allocate, best, on_grid
from ml_assets.core.budget.answers import allocation_rows, budget_of, response_rows, responses_of
from ml_assets.core.budget.media_mix import LiftTest, MediaMix, adstock, hill
from ml_assets.core.budget.panel import Panel, channel_panel, controls
from ml_assets.core.budget.response import Curve, Fitted, Response, fit
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.models.errors import NotEnoughData

SOME = Interval(1.0, 0.5, 1.5)


# Shapes of a response


@given(st.floats(0, 0.95), st.floats(0.1, 100))
def test_the_same_on_each_day_is_its_own_adstock(carry_over, daily):
    assert adstock(np.full(30, daily), carry_over, daily) == pytest.approx(np.full(30, daily))


def test_what_is_spent_once_lasts_and_fades():
    spend = np.array([10.0, 0, 0, 0])
    assert adstock(spend, 0.5, 0.0) == pytest.approx([5, 2.5, 1.25, 0.625])
    assert adstock(spend, 0.0, 7.0) == pytest.approx(spend)


@given(st.floats(0.2, 5), st.floats(0.5, 4), st.lists(st.floats(0, 50), min_size=2, max_size=20))
def test_a_response_grows_and_ends_below_one_and_is_a_half_at_its_half(half, exponent, spend):
    found = hill(np.sort(np.array(spend)), half, exponent)
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert hill(np.array([half]), half, exponent) == pytest.approx([0.5])


def test_derivatives_are_those_of_the_mean():
    """Each column of the slopes against a difference of means on both sides."""
    model = MediaMix(planted_channels(1).panel)
    theta = model.starts()[1] + 0.02 * np.random.default_rng(3).standard_normal(model.size)
    slopes = model._slopes(theta, model.everyone)
    for at in range(model.size):
        step = np.zeros(model.size)
        step[at] = 1e-5
        found = (model.mean(theta + step, model.everyone) - model.mean(theta - step, model.everyone)) / 2e-5
        assert slopes[:, :, at] == pytest.approx(found, rel=1e-2, abs=2e-3), at


# The panel


FIRST = date(2024, 3, 1)


def marts(con: duckdb.DuckDBPyConnection, orders: str, spend: str) -> dict[str, str]:
    con.execute(
        f"""
        CREATE TABLE fct_orders AS SELECT * FROM (VALUES {orders})
            AS t(order_date, channel, campaign_id, is_cancelled, total_amount);
        CREATE TABLE fct_marketing_spend AS SELECT * FROM (VALUES {spend})
            AS t(spend_date, channel, campaign_id, spend_amount);
        CREATE TABLE dim_campaigns AS SELECT * FROM (VALUES
            ('search_q1', TIMESTAMPTZ '2024-03-01'), ('email_may', TIMESTAMPTZ '2024-03-02')
        ) AS t(campaign_id, started_at);
        CREATE TABLE dim_dates AS SELECT day::DATE AS date_day, day = DATE '2024-03-03' AS is_holiday
            FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-12-31', INTERVAL 1 DAY) AS d(day);
        CREATE TABLE agg_daily_sales AS SELECT order_date, count(*) AS orders_count,
            sum(total_amount)::DECIMAL(18, 2) AS revenue_amount, 100::DECIMAL(18, 2) AS gross_amount,
            10::DECIMAL(18, 2) AS discount_amount, (sum(total_amount) / 4)::DECIMAL(18, 2) AS margin_amount
            FROM fct_orders WHERE NOT is_cancelled GROUP BY order_date"""
    )
    names = ("fct_orders", "fct_marketing_spend", "dim_campaigns", "dim_dates", "agg_daily_sales")
    return {name: f"SELECT * FROM {name}" for name in names}


ORDERS = """
    (DATE '2024-03-01', 'search', 'search_q1', false, 10.0), (DATE '2024-03-01', 'direct', NULL, false, 30.0),
    (DATE '2024-03-02', 'search', 'search_q1', true, 10.0), (DATE '2024-03-03', 'email', 'email_may', false, 20.0),
    (DATE '2024-03-03', NULL, NULL, false, 20.0), (DATE '2024-03-09', 'direct', NULL, false, 20.0)"""
SPEND = """
    (DATE '2024-02-20', 'search', 'search_q1', 5.0), (DATE '2024-03-01', 'search', 'search_q1', 7.0),
    (DATE '2024-03-01', 'search', 'search_q2', 3.0), (DATE '2024-03-03', 'social', 'social_q1', 4.0),
    (DATE '2024-03-03', 'display', 'display_q1', 0.0), (DATE '2024-03-04', 'search', 'search_q1', 1.0)"""


def test_a_panel_counts_standing_orders_by_their_last_touch_and_leaves_out_those_of_an_e_mail():
    con = duckdb.connect()
    panel = channel_panel(con, marts(con, ORDERS, SPEND))
    assert panel.dates == tuple(FIRST + timedelta(days=at) for at in range(4))
    assert panel.end == date(2024, 3, 5)
    assert panel.channels == ("search", "social"), "nothing was spent on display"
    assert panel.spend.tolist() == [[10, 0, 0, 1], [0, 0, 4, 0]]
    assert panel.credited.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert panel.other.tolist() == [1, 0, 1, 0]
    assert (panel.revenue_of_order, panel.margin_rate) == (20.0, 0.25)
    assert not panel.is_credited.any(), "one order is no witness"


def test_a_shop_that_knows_no_costs_has_no_margin_rate():
    con = duckdb.connect()
    found = marts(con, ORDERS, SPEND)
    con.execute("UPDATE agg_daily_sales SET margin_amount = NULL")
    assert channel_panel(con, found).margin_rate is None


def test_spend_without_orders_is_nothing_to_learn_from():
    con = duckdb.connect()
    found = marts(con, ORDERS, "(DATE '2025-03-01', 'search', 'search_q1', 7.0)")
    with pytest.raises(NotEnoughData, match="no day with both spend on a paid channel and orders"):
        channel_panel(con, found)


def test_sales_holidays_and_other_campaigns_are_controls():
    dates = tuple(FIRST + timedelta(days=at) for at in range(365))
    discounts, holidays = np.full(365, 0.04), np.zeros(365)
    plain = controls(dates, discounts, holidays, [])
    discounts[100:110], holidays[200] = 0.2, 1.0
    more = controls(dates, discounts, holidays, [date(2024, 6, 1)])
    assert more.shape[1] == plain.shape[1] + 2 + 1 + 3
    changed = np.flatnonzero((more[:, 12:] != 0).any(axis=1))
    days_of_campaign = list(range(92, 106))
    assert set(changed) == {*range(100, 110), 200, *days_of_campaign}
    assert abs(plain[:, :12].mean(axis=0)).max() < 0.02, "around 0"


# Fits


@pytest.fixture(scope="module")
def planted():
    return planted_channels(4)


@pytest.fixture(scope="module")
def fitted(planted) -> Fitted:
    return fit(planted.panel)


def test_a_fit_tells_each_channel_with_intervals(planted, fitted):
    assert [one.channel for one in fitted.responses] == list(planted.panel.channels)
    assert sum(one.share.value for one in fitted.responses) == pytest.approx(1)
    for one in fitted.responses:
        assert one.extra_orders.low < one.extra_orders.value < one.extra_orders.high
        assert one.highest < planted.panel.spend.max()
        assert len(one.draws) == 300
    assert fitted.is_shown
    assert fitted.organic.sum() < fitted.expected.sum()
    assert fitted.expected.sum() == pytest.approx(planted.panel.orders.sum(), rel=0.01)


def test_the_same_data_give_the_same_fit(planted, fitted):
    assert fit(planted.panel).responses == fitted.responses


def test_a_lift_test_narrows_what_is_not_known_of_all_channels(planted, fitted):
    search = planted.panel.channels.index("search")
    test = LiftTest("search", float(planted.returns[search]), 0.05 * float(planted.returns[search]))
    known = fit(planted.panel, [test])
    for before, after in zip(fitted.responses, known.responses, strict=True):
        width = [np.log(one.return_on_spend.high / one.return_on_spend.low) for one in (before, after)]
        assert width[1] < width[0], before.channel
    assert known.responses[search].return_on_spend.value == pytest.approx(test.return_on_spend, rel=0.1)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (LiftTest("radio", 2.0, 0.1), "a lift test is of radio; nothing is spent on it, but on search, social"),
        (LiftTest("search", 2.0, 0.0), "the lift test of search needs a return and a standard error above 0"),
    ],
)
def test_a_lift_test_that_says_nothing_is_refused(planted, test, said):
    with pytest.raises(ValueError, match=said):
        fit(planted.panel, [test])


def shortened(panel: Panel, days: int) -> Panel:
    return replace(
        panel,
        dates=panel.dates[:days],
        spend=panel.spend[:, :days],
        credited=panel.credited[:, :days],
        other=panel.other[:days],
        controls=panel.controls[:days],
    )


def test_too_little_is_said_to_be_too_little(planted):
    with pytest.raises(NotEnoughData, match=r"in 100 days of spend, and 1,000 in 180 are needed"):
        fit(shortened(planted.panel, 100))
    steady = planted.panel.spend.copy()
    steady[1] = 80.0
    with pytest.raises(NotEnoughData, match="the daily spend on social hardly varies"):
        fit(replace(planted.panel, spend=steady))


# Allocations


def response(name: str, curve: Curve, *, today: float = 100.0, highest: float = 400.0, sure: bool = True) -> Response:
    spread = [1.0] * 40 if sure else np.linspace(0.3, 1.7, 40).tolist()
    return Response(
        name, 1000.0, today, highest, SOME, SOME, SOME, SOME, SOME, curve,
        tuple(curve._replace(most=curve.most * by) for by in spread), True,
    )  # fmt: skip


GOOD, POOR = Curve(40.0, 1.0, 1.0, 100.0), Curve(4.0, 1.0, 1.0, 100.0)


def test_money_goes_where_one_more_adds_most():
    found = allocate([response("good", GOOD), response("poor", POOR)], 20.0, Limits())
    good, poor = found.lines
    assert (good.proposed, poor.proposed) == pytest.approx((150, 50))
    assert found.gain.low > 0
    assert found.is_shown
    assert found.is_within_limits
    assert found.profit.value == pytest.approx(found.profit_today.value + found.gain.value)


def test_what_does_not_pay_is_not_spent():
    (line,) = allocate([response("poor", POOR)], 20.0, Limits(lowest=0.0)).lines
    assert line.proposed == pytest.approx(0, abs=0.5)
    assert line.return_today < 1


def test_at_the_best_budget_one_more_adds_as_much_in_each_channel():
    other = GOOD._replace(most=30.0)
    found = allocate([response("a", GOOD), response("b", other)], 20.0, Limits(lowest=0.1, highest=3.0))
    assert sum(line.proposed for line in found.lines) == pytest.approx(200)
    assert found.lines[0].return_proposed == pytest.approx(found.lines[1].return_proposed, rel=1e-3)
    assert found.lines[0].return_proposed > 1


def test_nobody_is_sent_beyond_what_was_spent():
    found = allocate([response("good", GOOD, highest=120.0), response("poor", POOR)], 20.0, Limits(highest=3.0))
    assert found.lines[0].proposed == pytest.approx(120)
    assert found.lines[0].is_capped
    assert not found.lines[1].is_capped


def test_a_gain_that_may_be_none_is_not_shown():
    unsure = [response("a", GOOD._replace(most=12.0), sure=False), response("b", GOOD, sure=False)]
    found = allocate(unsure, 12.0, Limits(total_change=0.5, lowest=1.0))
    assert found.gain.low < 0 < found.gain.high
    assert not found.is_shown


curve = st.builds(
    Curve, most=st.floats(0.5, 60), half=st.floats(0.2, 4), exponent=st.floats(0.6, 3), mean_spend=st.floats(5, 500)
)


@settings(max_examples=40)
@given(st.lists(curve, min_size=1, max_size=4), st.floats(-0.5, 0.5), st.floats(0, 1), st.floats(1, 3))
def test_a_proposal_keeps_its_limits_and_earns_at_least_today(shapes, change, low, high):
    responses = [
        response(f"c{at}", one, today=one.mean_spend, highest=2 * one.mean_spend) for at, one in enumerate(shapes)
    ]
    found = allocate(responses, 15.0, Limits(total_change=change, lowest=low, highest=high))
    assert found.is_within_limits
    if change >= 0:
        assert found.gain.value >= -1e-6


@settings(max_examples=15)
@given(st.lists(curve, min_size=2, max_size=2), st.floats(0.2, 1.0))
def test_no_point_of_a_fine_grid_is_better(shapes, part):
    curves = Curves([shapes], 15.0)
    today = np.array([one.mean_spend for one in shapes])
    least, most = np.zeros(2), 3 * today
    total = float(part * most.sum())
    found = best(curves, least, most, total, today)
    tried = [np.array(point) * most for point in product(np.linspace(0, 1, 60), repeat=2)]
    reached = max(curves.profits(spend)[0] for spend in tried if spend.sum() <= total)
    assert curves.profits(found)[0] >= reached - 0.01 * abs(reached) - 0.05
    assert on_grid(curves, least, most, total).sum() <= total + 1e-9


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"lowest": 2.0, "highest": 1.0}, "the bounds of every channel must be 0 <= lowest <= highest"),
        ({"bounds": {"tv": (-1.0, 1.0)}}, "the bounds of tv"),
        ({"total_change": -1.0}, "total_change must be above -1"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(limits, said):
    with pytest.raises(ValueError, match=said):
        Limits(**limits)


def test_bounds_of_an_unknown_channel_are_refused():
    with pytest.raises(ValueError, match="bounds of tv: there is no such channel, these are: good"):
        allocate([response("good", GOOD)], 20.0, Limits(bounds={"tv": (0.0, 1.0)}))


# Stored and shown


def test_responses_come_back_as_they_were_stored(planted, fitted):
    rows = response_rows(planted.panel, fitted, planted.panel.end)
    assert responses_of(rows) == fitted.responses
    assert rows["fit_is_shown"].to_pylist() == [True] * 4


def test_a_budget_is_stored_for_each_channel(planted, fitted):
    found = allocate(fitted.responses, 28.0, Limits())
    budget = budget_of(fitted.responses, found, planted.panel.end, "EUR")
    rows = allocation_rows(budget).to_pylist()
    assert [row["channel"] for row in rows] == list(planted.panel.channels)
    assert [row["proposed_amount"] for row in rows] == [line.proposed for line in found.lines]
    assert {type(budget).model_validate_json(row["budget"]) for row in rows} == {budget}


def test_pictures_show_each_channel_and_are_the_same_again(fitted):
    found = allocate(fitted.responses, 28.0, Limits())
    drawn = [pictures.curves(fitted.responses, "EUR"), pictures.budgets(found, "EUR")]
    for picture in drawn:
        assert all(one.channel.encode() in picture.content for one in fitted.responses)
    assert drawn == [pictures.curves(fitted.responses, "EUR"), pictures.budgets(found, "EUR")]
