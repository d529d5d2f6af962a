"""The demand forecast on planted panels: no look ahead, better than the baselines, calibrated, the same bytes twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.evaluation.forecasting import coverage, origins, point_scores, window
from ml_assets.core.models.demand import baselines
from ml_assets.core.models.demand.features import History
from ml_assets.core.models.demand.forecaster import (
    LEVELS,
    Forecaster,
    Parameters,
    calibration_origins,
    fit,
)
from ml_assets.core.models.demand.panel import DAILY, MONTHLY, WEEKLY, dense
from ml_assets.core.models.demand.reorder import Terms, advise, critical_ratio
from ml_assets.core.models.errors import NotEnoughData
from tests.unit.ml.demand import make_panel, planted

SMALL = Parameters(trees=40, rows=20_000)
HORIZON = 14


@pytest.fixture(scope="module")
def shop():
    return planted()


@pytest.fixture(scope="module")
def backtest(shop):
    """Windows of the planted panel, and the forecaster's forecasts for them."""
    panel = shop.panel
    starts = origins(panel.periods, HORIZON, 3)
    windows = [window(panel.quantity, start, HORIZON, season=7, recent=28) for start in starts]
    return starts, windows, [fit(panel, start, HORIZON, SMALL).predict(panel, start) for start in starts]


def changed_after(panel, origin, seed):
    """The panel with other quantities from `origin` on; regressors, which are known ahead, stay."""
    later = panel.quantity.copy()
    later[:, origin:] = np.random.default_rng(seed).integers(0, 500, later[:, origin:].shape)
    return make_panel(later, regressors=dict(panel.regressors))


@given(origin=st.integers(60, 200), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_no_feature_looks_ahead(shop, origin, seed):
    one, two = (
        next(History(panel).at([origin], HORIZON)) for panel in (shop.panel, changed_after(shop.panel, origin, seed))
    )
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.base, two.base)


def test_features_of_an_origin_are_the_same_alone_and_among_others(shop):
    history = History(shop.panel)
    alone = next(history.at([150], 7))
    *_, among = history.at([100, 120, 150], 7)
    np.testing.assert_array_equal(alone.values, among.values)
    assert alone.values.shape[-1] == len(history.names)


def test_nothing_after_the_origin_changes_the_model_or_its_forecast(shop):
    origin = 300
    other = changed_after(shop.panel, origin, 3)
    texts = [fit(panel, origin, HORIZON, SMALL).to_text() for panel in (shop.panel, other)]
    assert texts[0] == texts[1], "the same bytes, which also says that training is deterministic"
    model = Forecaster.from_text(texts[0])
    assert model.to_text() == texts[0]
    one, two = (model.predict(panel, origin) for panel in (shop.panel, other))
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.interval(), two.interval())


def test_explanations_add_up_and_begin_with_what_such_a_week_sells(shop):
    origin = 300
    model = fit(shop.panel, origin, HORIZON, SMALL)
    found, forecast = model.explain(shop.panel, origin), model.predict(shop.panel, origin)
    np.testing.assert_allclose(found.logs, np.log(forecast.mean[:, :7]).mean(axis=1), atol=1e-9)
    assert found.contributions.shape == found.values.shape == (len(shop.panel.series), len(found.names))
    assert found.names[0] == "seasonal_level"
    usual = np.exp(np.log(shop.truth[:, origin : origin + 7]).mean(axis=1))
    assert np.median(np.abs(found.values[:, 0] / usual - 1)) < 0.1
    other = changed_after(shop.panel, origin, 3)
    np.testing.assert_array_equal(model.explain(other, origin).contributions, found.contributions)
    with pytest.raises(ValueError, match="are needed"):
        model.explain(shop.panel, shop.panel.periods - 1)


def test_it_beats_every_baseline_and_closes_half_of_the_gap_to_the_oracle(shop, backtest):
    starts, _, forecasts = backtest
    some = np.arange(12)  # a baseline is fitted to each series alone, which takes its time
    panel = shop.panel.of(some)
    windows = [window(panel.quantity, start, HORIZON, season=7, recent=28) for start in starts]
    model = point_scores(windows, [forecast.mean[some] for forecast in forecasts]).weighted_rmsse
    oracle = point_scores(windows, [shop.truth[some, start : start + HORIZON] for start in starts]).weighted_rmsse
    found = [baselines.forecast(panel, start, HORIZON) for start in starts]
    scores = {name: point_scores(windows, [one[name] for one in found]).weighted_rmsse for name in found[0]}
    assert set(scores) == {"seasonal_naive", "theta", "ets", "croston_sba"}
    assert oracle < model < min(scores.values())
    naive = scores["seasonal_naive"]
    assert (naive - model) / (naive - oracle) >= 0.5


def test_its_intervals_cover_nine_tenths_out_of_time(backtest):
    _, windows, forecasts = backtest
    bounds = [forecast.interval() for forecast in forecasts]
    actual, low, high = (
        np.concatenate(parts)
        for parts in ([w.actual for w in windows], [low for low, _ in bounds], [high for _, high in bounds])
    )
    assert 0.88 <= coverage(actual, low, high) <= 0.92


def test_quantiles_rise_with_their_level_and_are_never_negative(backtest):
    forecast = backtest[2][0]
    single = np.stack([forecast.quantile(level) for level in LEVELS[::10]])
    total = np.stack([forecast.total_quantile(level, 9) for level in LEVELS[::10]])
    for values in (single, total):
        assert (np.diff(values, axis=0) >= 0).all()
        assert (values >= 0).all()
    low, high = forecast.interval()
    assert (low <= forecast.quantile(0.5)).all()
    assert (forecast.quantile(0.5) <= high).all()


def test_a_quantile_or_a_reach_that_is_not_known_is_refused(backtest):
    forecast = backtest[2][0]
    with pytest.raises(ValueError, match=r"quantile 0\.999 .* 0\.005 to 0\.995"):
        forecast.quantile(0.999)
    with pytest.raises(ValueError, match=r"over 15 periods .* is for 14"):
        forecast.total_quantile(0.9, 15)


@pytest.fixture(scope="module")
def stocked_shop():
    """A planted panel with many series, an origin in it, and the forecast from there."""
    shop = planted(series=300, periods=620, seed=5)
    return shop, 600, fit(shop.panel, 600, 7, SMALL).predict(shop.panel, 600)


@pytest.mark.parametrize("service_level", [0.8, 0.9, 0.95])
def test_orders_as_advised_give_the_service_that_was_asked_for(stocked_shop, service_level):
    shop, origin, forecast = stocked_shop
    terms = Terms(lead=3, review=4, service_level=service_level)
    nothing = np.zeros(len(shop.panel.series))
    advice = advise(forecast, terms, at_hand=nothing, on_order=nothing)
    future = np.random.default_rng(11).poisson(shop.truth[:, origin : origin + 7], (200, len(nothing), 7))
    served = (future.sum(axis=2) <= advice.order_quantity).mean()
    assert served == pytest.approx(service_level, abs=0.02)
    np.testing.assert_allclose(advice.reorder_point, advice.expected_demand + advice.safety_stock)


def test_what_is_at_hand_or_on_order_is_not_ordered_again(backtest):
    forecast = backtest[2][0]
    nothing, some = np.zeros(40), np.full(40, 5.0)
    terms = Terms(lead=2, review=3, service_level=0.9)
    plain = advise(forecast, terms, at_hand=nothing, on_order=nothing)
    stocked = advise(forecast, terms, at_hand=some, on_order=some)
    np.testing.assert_allclose(stocked.order_quantity, np.maximum(plain.order_quantity - 10, 0))


def test_the_service_level_is_the_newsvendors_ratio_of_costs():
    assert critical_ratio(shortage_cost=9, holding_cost=1) == pytest.approx(0.9)
    assert critical_ratio(shortage_cost=1e9, holding_cost=1) == LEVELS[-1]
    with pytest.raises(ValueError, match="above 0"):
        critical_ratio(shortage_cost=0, holding_cost=1)


def test_days_out_of_stock_are_not_taken_for_days_without_demand():
    panel = planted(series=30, periods=300).panel
    out = np.zeros(panel.quantity.shape, bool)
    out[:10, 240:280] = np.random.default_rng(2).random((10, 40)) < 0.5
    emptied, masked = panel.quantity.copy(), panel.quantity.copy()
    emptied[out], masked[out] = 0.0, np.nan
    means = {}
    for name, quantity in {"whole": panel.quantity, "emptied": emptied, "masked": masked}.items():
        other = make_panel(quantity, regressors=dict(panel.regressors))
        means[name] = fit(other, 280, 7, SMALL).predict(other, 280).mean[:10].sum()
    assert means["masked"] == pytest.approx(means["whole"], rel=0.1)
    assert means["emptied"] < 0.8 * means["whole"]


def test_a_new_series_gets_a_forecast_and_one_that_ended_gets_none():
    panel = planted(series=30, periods=300).panel
    quantity, offered = panel.quantity.copy(), panel.offered.copy()
    quantity[0, :280], offered[0, :280] = np.nan, False
    quantity[1, 200:], offered[1, 200:] = np.nan, False
    other = make_panel(quantity, offered=offered, regressors=dict(panel.regressors))
    forecast = fit(other, 280, HORIZON, SMALL).predict(other, 280)
    typical = np.median(forecast.mean[2:].mean(axis=1))
    assert typical / 4 < forecast.mean[0].mean() < 4 * typical
    assert not forecast.mean[1].any()
    assert not forecast.quantile(0.95)[1].any()
    for name, values in baselines.forecast(other, 280, HORIZON).items():
        assert not values[:2].any(), name


@pytest.mark.parametrize("frequency", [DAILY, WEEKLY, MONTHLY], ids=lambda frequency: frequency.name)
def test_any_frequency_and_a_short_history_will_do(frequency):
    horizon = frequency.horizon
    quantity = np.random.default_rng(4).poisson(20, (6, 6 * horizon)).astype(float)
    panel = make_panel(quantity, frequency=frequency)
    origin = 5 * horizon
    forecast = fit(panel, origin, horizon, SMALL).predict(panel, origin)
    assert forecast.mean.shape == (6, horizon)
    assert forecast.mean.mean() == pytest.approx(20, rel=0.2)
    assert list(forecast.dates) == list(panel.dates[origin : origin + horizon])


def test_too_short_a_history_is_refused_with_its_cure():
    panel = make_panel(np.ones((3, 40)))
    with pytest.raises(NotEnoughData, match=r"14 periods needs 62 periods of history; there are 40\. Load more"):
        calibration_origins(panel, 40, 14)
    assert calibration_origins(make_panel(np.ones((3, 62))), 62, 14)


def test_days_that_a_shop_was_closed_once_do_not_close_it_a_year_later_on_other_days():
    """UCI Online Retail in small: the history's first days are those between the years, without any trade."""
    panel = planted(series=30, periods=364).panel
    quantity = panel.quantity.copy()
    quantity[:, 28:42] = 0.0
    closed = make_panel(quantity, regressors=dict(panel.regressors))
    closed = closed.ahead(HORIZON)
    forecast = fit(closed, 364, HORIZON, SMALL).predict(closed, 364)
    assert forecast.mean.sum() == pytest.approx(panel.quantity[:, -HORIZON:].sum(), rel=0.25)


def test_a_day_of_the_week_without_trade_leaves_no_hole():
    panel = planted(series=20, periods=300).panel
    quantity = np.where(np.arange(300) % 7 == 6, np.nan, panel.quantity)
    closed = make_panel(quantity, regressors=dict(panel.regressors))
    forecast = fit(closed, 280, HORIZON, SMALL).predict(closed, 280)
    assert np.isfinite(forecast.total_quantile(0.9, 1)).all()
    assert np.isfinite(forecast.mean).all()


def test_a_forecast_needs_the_dates_and_regressors_it_learned_with(shop):
    panel = shop.panel
    model = fit(panel, 300, 7, SMALL)
    with pytest.raises(ValueError, match="knows the features"):
        model.predict(make_panel(panel.quantity), 300)
    with pytest.raises(ValueError, match="has 0 periods from the origin on; 7 are needed"):
        model.predict(panel, panel.periods)
    ahead = panel.ahead(7)
    assert ahead.dates[-1] - panel.dates[-1] == np.timedelta64(7, "D")
    assert np.isfinite(model.predict(ahead, panel.periods).mean).all()


@pytest.mark.parametrize(
    ("frequency", "expected"), [(WEEKLY, "2023-01-15"), (MONTHLY, "2023-03-01"), (DAILY, "2023-01-03")]
)
def test_dates_ahead_go_on_at_the_panels_frequency(frequency, expected):
    panel = make_panel(np.ones((1, 1)), frequency=frequency).ahead(2)
    assert str(panel.dates[-1]) == expected


def test_rows_become_a_panel_in_which_absent_rows_mean_what_is_said():
    nothing = np.array([True] * 4)
    rows = {
        "series": ("a", "b"),
        "places": (np.array([0, 0, 1, 1]), np.array([0, 2, 1, 2])),
        "quantity": np.array([5.0, 7.0, 3.0, np.nan]),
        "regressors": {"price": np.array([1.0, 2.0, 4.0, 5.0])},
    }
    dates = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]")
    zero = dense(DAILY, dates, **rows, absent="zero")
    np.testing.assert_array_equal(zero.quantity, [[5, 0, 7, np.nan], [np.nan, 3, 0, np.nan]])
    unknown = dense(DAILY, dates, **rows, absent="unknown", in_stock=nothing)
    np.testing.assert_array_equal(unknown.quantity, [[5, np.nan, 7, np.nan], [np.nan, 3, np.nan, np.nan]])
    np.testing.assert_array_equal(unknown.offered, [[1, 1, 1, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(unknown.regressors["price"], [[1, 1, 2, 2], [np.nan, 4, 5, 5]])
    out = dense(DAILY, dates, **rows, absent="unknown", in_stock=np.array([True, False, True, True]))
    assert np.isnan(out.quantity[0, 2])
    assert out.offered[0, 2]


def test_a_panel_refuses_negative_quantities_and_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match="negative"):
        make_panel(np.array([[1.0, -1.0]]))
    with pytest.raises(ValueError, match=r"price has the shape \(2, 2\)"):
        make_panel(np.ones((1, 2)), regressors={"price": np.ones((2, 2))})
