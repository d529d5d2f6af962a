"""What is planted shows in what happens: each test holds the rows against the truth tables."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy.special import betaln, gammaln
from sklearn.metrics import roc_auc_score

from ecom_assets.simulator import SimulatedShop
from ecom_assets.simulator.catalog import AFTER_STOCK_OUT_FACTOR
from ecom_assets.simulator.columns import DAY
from shops import NO_TROUBLE, make_shop, read, window


@pytest.fixture(scope="module")
def big_shop() -> SimulatedShop:
    """Enough customers for effects to stand out; only short windows of it are read."""
    return make_shop(customers=20_000, seed=5, end=date(2026, 1, 1), **NO_TROUBLE)


@pytest.fixture(scope="module")
def truth(big_shop: SimulatedShop) -> dict[str, Any]:
    return {name: table.to_pandas() for name, table in big_shop.truth().items()}


def order_days(shop: SimulatedShop) -> tuple[np.ndarray, np.ndarray]:
    """Customer number and time in days of every customer's order, straight from the skeleton."""
    bones, start = shop._world.skeleton, shop._world.calendar.start
    known = bones.person < shop.config.customers
    return bones.person[known], (bones.time[known] - start) / DAY


def test_the_default_size() -> None:
    shop = make_shop(customers=5000, seed=7, end=date(2026, 1, 1))
    assert 40_000 < len(shop._world.skeleton.time) < 65_000


def test_who_dropped_out_orders_no_more(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    customer, day = order_days(big_shop)
    last = np.zeros(big_shop.config.customers)
    np.maximum.at(last, customer, day)
    dropped = truth["customers"].dropped_at.dt.tz_localize(None)
    gone = dropped.notna().to_numpy()
    at = ((dropped - np.datetime64(big_shop.config.start)) / np.timedelta64(1, "D")).to_numpy()
    assert 0.3 < gone.mean() < 0.8
    np.testing.assert_allclose(last[gone], at[gone], atol=1e-6)


def test_purchase_rates_and_drop_out_are_bg_nbd(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    """The likelihood of Fader, Hardie and Lee (2005, eq. 6) is lower where a parameter is 25 % off the planted one."""
    customer, day = order_days(big_shop)
    count = np.bincount(customer, minlength=big_shop.config.customers) - 1
    first, last = np.full(len(count), np.inf), np.zeros(len(count))
    np.minimum.at(first, customer, day)
    np.maximum.at(last, customer, day)
    bought = count >= 0
    x, recency, age = count[bought], (last - first)[bought], (big_shop.config.days - first)[bought]

    def likelihood(r: float, alpha: float, a: float, b: float) -> float:
        here = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
        gone = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
        both = np.logaddexp(here, np.where(x > 0, gone, -np.inf))
        return float((gammaln(r + x) - gammaln(r) + r * np.log(alpha) + both).sum())

    planted = truth["parameters"].set_index("parameter").value
    at = [planted[f"bgnbd_{name}"] for name in ("r", "alpha", "a", "b")]
    best = likelihood(*at)
    for place in range(4):
        for factor in (0.75, 1.25):
            other = [*at[:place], at[place] * factor, *at[place + 1 :]]
            assert likelihood(*other) < best, (place, factor)


def test_churn_can_be_learned_but_not_read_off(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    """P(order in 90 days) by a customer's own parameters and history: the best that a model may hope for."""
    customer, day = order_days(big_shop)
    as_of, size = 450.0, big_shop.config.customers
    past, future = day < as_of, (day >= as_of) & (day < as_of + 90)
    count, last = np.bincount(customer[past], minlength=size), np.zeros(size)
    np.maximum.at(last, customer[past], day[past])
    active = (count > 0) & (last > as_of - 120)
    rate = truth["customers"].purchase_rate.to_numpy()
    leave = truth["customers"].dropout_probability.to_numpy()
    odds = np.where(count > 1, leave / (1 - leave) * np.exp(rate * (as_of - last)), 0)
    oracle = (1 - np.exp(-90 * rate)) / (1 + odds)
    orders = np.bincount(customer[future], minlength=size) > 0
    auc = roc_auc_score(orders[active], oracle[active])
    recency = roc_auc_score(orders[active], -(as_of - last[active]))
    assert 0.75 < recency < auc < 0.92


def test_rates_agree_with_what_is_bought(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    customer, day = order_days(big_shop)
    table = truth["customers"]
    start = np.datetime64(big_shop.config.start)
    registered = ((table.registered_at.dt.tz_localize(None) - start) / np.timedelta64(1, "D")).to_numpy()
    dropped = ((table.dropped_at.dt.tz_localize(None) - start) / np.timedelta64(1, "D")).to_numpy()
    here = (registered < 300) & ~(dropped < 450)
    inside = (day >= 300) & (day < 450)
    bought = np.bincount(customer[inside], minlength=len(table))[here]
    clock = truth["seasonality"].demand_index.to_numpy()[300:450].sum()
    expected = table.purchase_rate.to_numpy()[here] * clock
    for tenth in np.array_split(np.argsort(expected), 10)[3:]:
        assert bought[tenth].mean() == pytest.approx(expected[tenth].mean(), rel=0.15)


def spend_after(shop: SimulatedShop, first: date, days: int) -> dict[str, float]:
    orders = read(shop, "orders", [window(first, first + timedelta(days))])
    assert orders.num_rows
    rows = duckdb.sql(
        """select customer_id, sum(total_amount)::double from (
             from orders qualify row_number() over (partition by order_id order by updated_at desc) = 1)
           where customer_id is not null and status <> 'cancelled' group by 1"""
    ).fetchall()
    return dict(rows)


def campaign_spend(shop: SimulatedShop, truth: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray, Any]:
    campaign = truth["campaigns"].set_index("campaign_id").loc[name]
    effects = truth["campaign_effects"].query("campaign_id == @name")
    spend = spend_after(shop, campaign.started_at.date(), 15)
    return effects.customer_id.map(spend).fillna(0).to_numpy(), effects.is_treated.to_numpy(), campaign


def difference(spend: np.ndarray, treated: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted difference of means and its standard error."""
    parts = []
    for group in (treated, ~treated):
        share = weight[group] / weight[group].sum()
        mean = float((share * spend[group]).sum())
        parts.append((mean, float((share**2 * (spend[group] - mean) ** 2).sum())))
    return parts[0][0] - parts[1][0], (parts[0][1] + parts[1][1]) ** 0.5


def test_the_randomised_campaign_gives_back_its_effect(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    spend, treated, campaign = campaign_spend(big_shop, truth, "email_spring")
    found, error = difference(spend, treated, np.ones(len(spend)))
    assert 0.45 < treated.mean() < 0.55
    assert abs(found - campaign.ate_spend) < 2.5 * error
    assert found > 4 * error


def test_the_confounded_campaign_needs_its_propensity(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    spend, treated, campaign = campaign_spend(big_shop, truth, "email_winback")
    propensity = truth["campaign_effects"].query("campaign_id == 'email_winback'").propensity.to_numpy()
    naive, error = difference(spend, treated, np.ones(len(spend)))
    assert abs(naive - campaign.ate_spend) > 4 * error
    weighted, error = difference(spend, treated, np.where(treated, 1 / propensity, 1 / (1 - propensity)))
    assert abs(weighted - campaign.ate_spend) < 3 * error
    assert ((propensity > 0.02) & (propensity < 0.98)).mean() > 0.95


def test_the_hidden_confounder_and_the_lack_of_overlap_are_planted(
    big_shop: SimulatedShop, truth: dict[str, Any]
) -> None:
    spend, treated, campaign = campaign_spend(big_shop, truth, "email_vip")
    naive, error = difference(spend, treated, np.ones(len(spend)))
    assert naive > campaign.ate_spend + 4 * error
    newsletter = truth["campaign_effects"].query("campaign_id == 'email_newsletter'")
    assert set(newsletter.propensity) == {0.0, 1.0}
    identified = truth["campaigns"].set_index("campaign_id").is_identified
    assert list(identified[identified].index) == ["email_spring", "email_winback"]


def test_effects_differ_between_customers(truth: dict[str, Any]) -> None:
    spring = truth["campaign_effects"].query("campaign_id == 'email_spring'")
    assert spring.effect_spend.std() > 0.5 * spring.effect_spend.mean() > 0


def test_experiments_give_back_their_lift(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    for experiment in truth["experiments"].itertuples():
        first, days = experiment.started_at.date(), (experiment.ended_at - experiment.started_at).days
        assigned = read(big_shop, "experiment_assignments", [window(first, first + timedelta(days))]).to_pandas()
        assigned = assigned[assigned.experiment_id == experiment.experiment_id]
        early = assigned.assigned_at.dt.date < first + timedelta(5)
        orders = read(big_shop, "orders", [window(first + timedelta(5), first + timedelta(days))]).to_pandas()
        count = orders.drop_duplicates("order_id").groupby("customer_id").size()
        units = assigned[early].customer_id.map(count).fillna(0).to_numpy(dtype=float)
        treated = (assigned[early].variant == "treatment").to_numpy()
        assert abs(treated.mean() - 0.5) < 2.6 * 0.5 / len(treated) ** 0.5
        found, error = difference(units, treated, np.ones(len(units)))
        control = units[~treated].mean()
        assert abs(found - experiment.order_lift * control) < 3 * error


def within_products(sold: np.ndarray, usual: np.ndarray, price: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Slopes of a Poisson regression on log price and display, with an effect for each product; by Newton's method."""
    slope = np.zeros(2)
    for _ in range(20):
        mean = usual * np.exp(slope[0] * price + slope[1] * shown)
        mean *= sold.sum(axis=0) / mean.sum(axis=0)
        centred = [x - (mean * x).sum(axis=0) / mean.sum(axis=0) for x in (price, shown)]
        curvature = np.array([[(mean * a * b).sum() for b in centred] for a in centred])
        slope = slope + np.linalg.solve(curvature, [((sold - mean) * x).sum() for x in centred])
    return slope


def test_demand_has_the_planted_elasticity_and_display_lift(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    items = read(big_shop, "order_items", [window(date(2024, 7, 1), date(2026, 1, 1))])
    world, days = big_shop._world, big_shop.config.days
    day = (items["ordered_at"].cast("int64").to_numpy() - world.calendar.start) // DAY
    product = np.char.lstrip(items["product_id"].to_numpy().astype(str), "P").astype(int) - 1
    cells = days, len(truth["products"])
    sold = np.bincount(day * cells[1] + product, minlength=days * cells[1]).reshape(cells)
    orders = np.bincount(day, weights=items["line_number"].to_numpy() == 1, minlength=days)
    quiet = (truth["seasonality"].promotion_factor.to_numpy() == 1) & (orders > 0)
    market = world.catalog.market(0, days)
    usual = market.weight / market.response * orders[:, None]
    price = np.log(market.price_cents / world.catalog.base_cents * (1 - market.promotion_pct / 100))
    shown = (market.promotion_pct > 0).astype(float)
    ratios = []
    for category in truth["categories"].itertuples():
        mine = np.flatnonzero((truth["products"].category == category.category) & (sold[quiet].sum(axis=0) > 0))
        slopes = within_products(*(values[quiet][:, mine] for values in (sold, usual, price, shown)))
        ratios.append((slopes[0] / category.price_elasticity, np.exp(slopes[1]) / category.display_lift))
    elasticity, lift = np.array(ratios).T
    assert np.abs(elasticity - 1).max() < 0.2
    assert elasticity.mean() == pytest.approx(1, abs=0.06)  # a little goes to other products, in the first line
    assert np.abs(lift - 1).max() < 0.15


def test_who_found_a_product_out_of_stock_wants_it_less_for_four_weeks(big_shop: SimulatedShop) -> None:
    world, days = big_shop._world, big_shop.config.days
    catalog = world.catalog
    gone = catalog.out_of_stock(np.arange(days)) & catalog.on_sale(np.arange(days))
    after = catalog.after_stock_out(np.arange(days))
    expected = np.zeros_like(after)
    for day in range(days):
        monday = day - int(world.calendar.weekday[day])
        for sunday in range(monday - 1, monday - 29, -7):
            if sunday >= 0:
                expected[day] |= gone[sunday]
    assert (after == expected).all()
    assert 0.005 < after.mean() < 0.05
    for first, last in ((0, 9), (100, 101), (363, 400)):  # any days alone, as a partition asks for them
        assert (catalog.after_stock_out(np.arange(first, last)) == after[first:last]).all()
    market, usual = catalog.market(0, days), catalog.after_stock_out(np.arange(days))
    with_it = np.where(usual, AFTER_STOCK_OUT_FACTOR, 1.0)
    prices = (market.price_cents / catalog.base_cents * (1 - market.promotion_pct / 100)) ** catalog.elasticity
    shown = np.where(market.promotion_pct > 0, catalog.display_lift, 1.0)
    assert np.allclose(market.response, prices * shown * with_it)


def test_what_is_sold_follows_what_is_wanted_less_than_one_for_one(truth: dict[str, Any]) -> None:
    categories, discounts = truth["categories"], truth["discount_effects"]
    assert (categories.sold_elasticity / categories.price_elasticity).between(0.9, 1).all()
    assert (discounts.sold_factor < discounts.units_factor).all()
    assert (discounts.sold_factor > 1 + 0.85 * (discounts.units_factor - 1)).all()
    assert (discounts.earned_factor < discounts.sold_factor).all()
    assert truth["stockouts"].later_sold_factor.between(0.7, 0.75).all()


def test_tastes_show_in_what_is_bought(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    items = read(big_shop, "order_items", [window(date(2025, 3, 1), date(2025, 5, 1))]).to_pandas()
    orders = read(big_shop, "orders", [window(date(2025, 3, 1), date(2025, 5, 1))]).to_pandas()
    bought = items.merge(orders.drop_duplicates("order_id")[["order_id", "customer_id"]], on="order_id")
    bought = bought.merge(truth["products"][["product_id", "category", "style"]], on="product_id")
    bought = bought.merge(truth["customers"][["customer_id", "favourite_category", "style"]], on="customer_id")
    assert (bought.category == bought.favourite_category).mean() > 0.25
    assert (bought.style_x == bought.style_y).mean() > 0.5


def test_channels_cause_what_the_truth_says(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    channels = truth["channels"]
    assert channels.incremental_share.sum() == pytest.approx(1)
    uplift = truth["channel_days"].groupby("channel").uplift.mean()
    orders = len(big_shop._world.skeleton.time)
    for channel in channels.itertuples():
        share = uplift[channel.channel] / (1 + uplift.sum())
        assert channel.incremental_orders / orders == pytest.approx(share, rel=0.2)
        assert channel.return_on_spend > 0.5


def test_traffic_follows_the_season(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    """Repeat orders of one's own wish, against the rates of who is there times the demand index."""
    bones, folk, days = big_shop._world.skeleton, big_shop._world.people, big_shop.config.days
    start, customers = big_shop._world.calendar.start, big_shop.config.customers
    own = (bones.person < customers) & (bones.cause == 0) & ~bones.is_first
    orders = np.bincount((bones.time[own] - start) // DAY, minlength=days)
    noon = start + np.arange(days)[:, None] * DAY + DAY // 2
    here = (folk.first_order_at[:customers] < noon) & (bones.dropped_at[:customers] > noon)
    expected = here @ truth["customers"].purchase_rate.to_numpy() * truth["seasonality"].demand_index.to_numpy()
    for block in np.split(np.arange(30, 30 + 28 * 25), 25):
        assert orders[block].sum() == pytest.approx(expected[block].sum(), rel=0.06)
    for weekday in range(7):
        mine = np.arange(28 + weekday, days, 7)
        assert orders[mine].sum() == pytest.approx(expected[mine].sum(), rel=0.04)


def test_a_dropped_out_customer_hardly_visits(big_shop: SimulatedShop, truth: dict[str, Any]) -> None:
    visits = read(big_shop, "events", [window(date(2025, 4, 1), date(2025, 4, 15))]).to_pandas()
    table = truth["customers"]
    seen = table.customer_id.isin(visits[~visits.event_type.str.startswith("email")].customer_id)
    registered = table.registered_at.dt.tz_localize(None) < np.datetime64("2025-03-01")
    gone = table.dropped_at.dt.tz_localize(None) < np.datetime64("2025-03-01")
    assert seen[registered & gone].mean() < 0.15 * seen[registered & ~gone].mean()
