"""The truth of the simulated shop as tables: what was planted, and what it did.

Filled from the parts that plant it, in the shape of `truth_contracts`. Effects of e-mails are potential outcomes: the
order that the e-mail would cause is drawn and priced for every eligible customer, several times, treated or not. What
is planted in how wanted a product is does a little less to what is sold of it (`sales`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ecom_assets.contracts.customers import TIERS
from ecom_assets.simulator import aftersales, campaigns, orders, people
from ecom_assets.simulator.calendar import TREND_PER_YEAR
from ecom_assets.simulator.campaigns import EXPERIMENTS, LOYALTY_LIFT, TIER_FROM_ORDERS, Assignment
from ecom_assets.simulator.catalog import AFTER_STOCK_OUT_FACTOR, AFTER_STOCK_OUT_WEEKS, CATEGORIES, PROMOTION_PCT
from ecom_assets.simulator.columns import DAY, HOUR, dates, money, numbered, pick, price, timestamps
from ecom_assets.simulator.goods import spells
from ecom_assets.simulator.paid import HILL, PAID_CHANNELS
from ecom_assets.simulator.people import NEVER, PERSONAS, STYLES
from ecom_assets.simulator.sales import Sales
from ecom_assets.simulator.skeleton import CAUSES
from ecom_assets.simulator.streams import Floats, Ints
from ecom_assets.simulator.truth_contracts import TRUTH_CONTRACTS
from ecom_assets.simulator.world import World

REPLICATES = 8
"""Draws of each potential order: the average effect's own error is then a tenth of what a campaign can measure."""
ORDERS_AT_ONCE = 65_536

Columns = dict[str, Any]


def tell(world: World) -> dict[str, pa.Table]:
    """Every truth table, in the shape of its contract; a second or two for the default shop."""
    effects = [_effects(world, assignment) for assignment in world.skeleton.assignments]
    sales = Sales(world)
    tables: Mapping[str, Callable[[], Columns]] = {
        "parameters": lambda: _parameters(world),
        "customers": lambda: _customers(world),
        "categories": lambda: _categories(sales),
        "discount_effects": lambda: _discount_effects(world, sales),
        "products": lambda: _products(world),
        "seasonality": lambda: _seasonality(world),
        "promotions": lambda: _promotions(world),
        "stockouts": lambda: _stockouts(world, sales),
        "campaigns": lambda: _campaigns(effects),
        "campaign_effects": lambda: _campaign_effects(world, effects),
        "channels": lambda: _channels(world),
        "channel_days": lambda: _channel_days(world),
        "experiments": lambda: _experiments(world),
        "fraud_rings": lambda: _fraud_rings(world),
        "fraud_orders": lambda: _fraud_orders(world),
        "loyalty_tiers": lambda: _loyalty_tiers(world),
        "loyalty_effects": _loyalty_effects,
    }
    return {name: pa.table(make(), schema=TRUTH_CONTRACTS[name].arrow_schema()) for name, make in tables.items()}


def _parameters(world: World) -> Columns:
    config = world.config
    rows = [
        ("bgnbd_r", people.RATE_SHAPE, "Shape of the gamma of purchase rates."),
        ("bgnbd_alpha", people.RATE_SCALE_DAYS, "Rate of that gamma, in days of average business."),
        ("bgnbd_a", people.DROPOUT_A, "First shape of the beta of drop-out probabilities."),
        ("bgnbd_b", people.DROPOUT_B, "Second shape of that beta."),
        ("gamma_gamma_p", people.SPEND_SHAPE, "Shape of the gamma of an order's planned spend."),
        ("gamma_gamma_q", people.SPEND_MEAN_SHAPE, "Shape of the gamma of the customers' spend rates."),
        ("gamma_gamma_gamma", people.SPEND_SCALE, "Rate of that gamma, in euros."),
        ("trend_per_year", TREND_PER_YEAR, "Growth of the logarithm of each customer's demand in a year."),
        ("taste_spread", people.TASTE_SPREAD, "Standard deviation of the logarithm of a customer's category tastes."),
        ("own_style_weight", people.OWN_STYLE_WEIGHT, "How much rather a product of one's own style is taken."),
        ("duplicate_rate", config.duplicate_rate, "Share of rows delivered twice."),
        ("invalid_rate", config.invalid_rate, "Share of rows that break their contract."),
        ("late_rate", config.late_rate, "Share of events that arrive late."),
    ]
    names, values, descriptions = zip(*rows, strict=True)
    return {"parameter": names, "value": [float(value) for value in values], "description": descriptions}


def _customers(world: World) -> Columns:
    folk, catalog = world.people, world.catalog
    customer = np.arange(folk.customers)
    share = 1 - catalog.cost_cents / catalog.base_cents
    weight = np.bincount(catalog.segment, weights=catalog.popularity)
    margin = np.bincount(catalog.segment, weights=catalog.popularity * share)
    wanted = catalog.segment_preference(folk, customer)
    tastes = folk.tastes(customer, len(CATEGORIES)) * np.array([c.share for c in CATEGORIES])
    tastes /= tastes.sum(axis=1, keepdims=True)
    dropped = world.skeleton.dropped_at[customer]
    return {
        "customer_id": world.customer_ids,
        "registered_at": timestamps(folk.registered_at[customer]),
        "purchase_rate": folk.rate[customer],
        "dropout_probability": folk.dropout[customer],
        "dropped_at": pick(timestamps(dropped), np.where(dropped < NEVER, customer, -1)),
        "mean_order_amount": folk.spend[customer],
        "margin_rate": (wanted @ margin) / (wanted @ weight),
        "persona": pick(PERSONAS, folk.persona[customer]),
        "style": pick(STYLES, folk.style[customer]),
        "favourite_category": pick([c.name for c in CATEGORIES], tastes.argmax(axis=1)),
        "favourite_category_share": tastes.max(axis=1),
        "ring_id": _ring_ids(folk.ring[customer]),
    }


def _ring_ids(ring: Ints) -> pa.Array:
    return pick(numbered("R", np.arange(ring.max(initial=0) + 1)), ring)


def _categories(sales: Sales) -> Columns:
    total = sum(category.share for category in CATEGORIES)
    return {
        "category": [c.name for c in CATEGORIES],
        "price_elasticity": [c.elasticity for c in CATEGORIES],
        "sold_elasticity": [sales.elasticity(number) for number in range(len(CATEGORIES))],
        "display_lift": [c.display_lift for c in CATEGORIES],
        "season_amplitude": [c.season for c in CATEGORIES],
        "peak_day_of_year": [c.peak_day for c in CATEGORIES],
        "demand_share": [c.share / total for c in CATEGORIES],
    }


def _discount_effects(world: World, sales: Sales) -> Columns:
    catalog = world.catalog
    rows = []
    for number, category in enumerate(CATEGORIES):
        mine = catalog.category == number
        cost = np.average(catalog.cost_cents[mine] / catalog.base_cents[mine], weights=catalog.popularity[mine])
        for pct in PROMOTION_PCT:
            factor = (1 - pct / 100) ** category.elasticity * category.display_lift
            margin = factor * (1 - pct / 100 - cost) / (1 - cost)
            rows.append((category.name, pct, factor, margin, *sales.factors(number, factor, 1 - pct / 100)))
    names = ("category", "discount_pct", "units_factor", "margin_factor", "sold_factor", "earned_factor")
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _products(world: World) -> Columns:
    catalog, calendar = world.catalog, world.calendar
    ends = catalog.discontinued_day
    return {
        "product_id": world.product_ids,
        "category": pick([c.name for c in CATEGORIES], catalog.category),
        "style": pick(STYLES, catalog.style),
        "base_price": price(catalog.base_cents),
        "popularity": catalog.popularity,
        "launched_on": dates(calendar.day_start(catalog.launch_day)),
        "discontinued_on": pick(
            dates(calendar.day_start(ends)), np.where(ends < calendar.days, np.arange(len(ends)), -1)
        ),
        "partner_product_id": pick(world.product_ids, catalog.partner),
    }


def _seasonality(world: World) -> Columns:
    calendar = world.calendar
    return {
        "date_day": calendar.dates,
        "weekly_factor": calendar.weekly,
        "yearly_factor": calendar.yearly,
        "trend_factor": calendar.trend,
        "promotion_factor": calendar.promotion,
        "paid_factor": 1 + calendar.paid.sum(axis=0),
        "demand_index": calendar.intensity,
    }


def _promotions(world: World) -> Columns:
    sales = world.calendar.promotions
    return {
        "promotion": [sale.name for sale in sales],
        "starts_on": [sale.start for sale in sales],
        "ends_on": [sale.end for sale in sales],
        "demand_factor": [sale.lift for sale in sales],
        "discount_pct": [sale.discount_pct for sale in sales],
        "is_every_category": [sale.every_category for sale in sales],
    }


def _stockouts(world: World, sales: Sales) -> Columns:
    product, first, last = spells(world.catalog, world.calendar.days)
    return {
        "product_id": pick(world.product_ids, product),
        "starts_on": dates(world.calendar.day_start(first)),
        "ends_on": dates(world.calendar.day_start(last)),
        "weak_until": dates(world.calendar.day_start(last + 7 * AFTER_STOCK_OUT_WEEKS)),
        "later_units_factor": [AFTER_STOCK_OUT_FACTOR] * len(product),
        "later_sold_factor": [sales.factors(None, AFTER_STOCK_OUT_FACTOR, 1.0)[0]] * len(product),
    }


class _Effect:
    """A campaign's expected effect on each eligible customer, and one simulated sum of it for each replicate."""

    def __init__(self, assignment: Assignment, extra: Floats, spend: Floats) -> None:
        self.assignment = assignment
        self.orders: Floats = extra.mean(axis=0)
        self.spend: Floats = spend.mean(axis=0)
        self.ate_se = float(spend.mean(axis=1).std(ddof=1) / np.sqrt(len(spend))) if spend.size else 0.0


def _effects(world: World, assignment: Assignment) -> _Effect:
    bones, folk, calendar, streams = world.skeleton, world.people, world.calendar, world.streams
    customer = assignment.customer
    cause = CAUSES.index(assignment.campaign.campaign_id)
    extra = np.zeros((REPLICATES, len(customer)))
    spend = np.zeros((REPLICATES, len(customer)))
    ready = assignment.sent_at + (campaigns.SEND_HOURS + 1) * HOUR
    for replicate in range(REPLICATES):
        drawn = streams.uniform(f"{assignment.campaign.campaign_id}.potential", customer, replicate)
        time = ready + campaigns.response_delay(drawn)
        buys = (time < bones.dropped_at[customer]) & (time < calendar.end) & (time > folk.first_order_at[customer])
        who, when = customer[buys], time[buys]
        key = streams.bits("order.potential", who, replicate, assignment.sent_at)
        none = np.zeros(len(who), dtype=np.int64)
        might = orders.conceive(world, none, when, who, key, none + cause, none > 0)
        total = orders.add_up(might, orders.fill(world, might)).total / 100 * ~might.is_cancelled
        extra[replicate, buys] = assignment.extra_chance[buys]
        spend[replicate, buys] = assignment.extra_chance[buys] * total
    return _Effect(assignment, extra, spend)


def _campaigns(effects: list[_Effect]) -> Columns:
    assigned = [effect.assignment for effect in effects]
    return {
        "campaign_id": [a.campaign.campaign_id for a in assigned],
        "design": [a.campaign.design for a in assigned],
        "is_identified": [a.campaign.design in ("randomised", "confounded_observed") for a in assigned],
        "started_at": timestamps(np.array([a.sent_at for a in assigned], dtype=np.int64)),
        "effect_days": [campaigns.EFFECT_DAYS] * len(assigned),
        "eligible_customers": [len(a.customer) for a in assigned],
        "treated_customers": [int(a.treated.sum()) for a in assigned],
        "ate_orders": [_mean(effect.orders) for effect in effects],
        "ate_spend": [_mean(effect.spend) for effect in effects],
        "att_spend": [_mean(effect.spend[effect.assignment.treated]) for effect in effects],
        "ate_spend_se": [effect.ate_se for effect in effects],
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _campaign_effects(world: World, effects: list[_Effect]) -> Columns:
    assigned = [effect.assignment for effect in effects]
    sizes = [len(a.customer) for a in assigned]
    return {
        "campaign_id": pick([a.campaign.campaign_id for a in assigned], np.repeat(np.arange(len(assigned)), sizes)),
        "customer_id": pick(world.customer_ids, np.concatenate([a.customer for a in assigned])),
        "is_treated": np.concatenate([a.treated for a in assigned]),
        "propensity": np.concatenate([a.propensity for a in assigned]),
        "effect_orders": np.concatenate([effect.orders for effect in effects]),
        "effect_spend": np.concatenate([effect.spend for effect in effects]),
    }


def _channels(world: World) -> Columns:
    caused_orders, caused_revenue, revenue = np.zeros(len(PAID_CHANNELS)), np.zeros(len(PAID_CHANNELS)), 0.0
    for first in range(0, len(world.skeleton.time), ORDERS_AT_ONCE):
        number = np.arange(first, min(first + ORDERS_AT_ONCE, len(world.skeleton.time)))
        batch = orders.describe(world, number)
        total = orders.add_up(batch, orders.fill(world, batch)).total / 100 * ~batch.is_cancelled
        revenue += float(total.sum())
        due = batch.paid_cause >= 0
        caused_orders += np.bincount(batch.paid_cause[due], minlength=len(PAID_CHANNELS))
        caused_revenue += np.bincount(batch.paid_cause[due], weights=total[due], minlength=len(PAID_CHANNELS))
    spent = world.paid.spend_cents.sum(axis=1)
    return {
        "channel": [c.name for c in PAID_CHANNELS],
        "spend_amount": money(spent),
        "incremental_orders": caused_orders,
        "incremental_revenue": caused_revenue,
        "incremental_share": caused_revenue / max(caused_revenue.sum(), 1.0),
        "revenue_share": caused_revenue / max(revenue, 1.0),
        "return_on_spend": caused_revenue / np.maximum(spent / 100, 0.01),
        "uplift_at_saturation": [c.uplift for c in PAID_CHANNELS],
        "half_saturation": [c.half_saturation for c in PAID_CHANNELS],
        "hill_exponent": [HILL] * len(PAID_CHANNELS),
        "carry_over": [c.carry_over for c in PAID_CHANNELS],
        "mean_daily_spend": [c.daily_spend * world.config.customers for c in PAID_CHANNELS],
    }


def _channel_days(world: World) -> Columns:
    paid, days = world.paid, world.calendar.days
    channel = np.repeat(np.arange(len(PAID_CHANNELS)), days)
    return {
        "channel": pick([c.name for c in PAID_CHANNELS], channel),
        "date_day": dates(world.calendar.start + np.tile(np.arange(days), len(PAID_CHANNELS)) * DAY),
        "spend_amount": money(paid.spend_cents.ravel()),
        "uplift": paid.uplift.ravel(),
    }


def _experiments(world: World) -> Columns:
    spans = [campaigns.experiment_span(e, world.calendar.start, world.calendar.days) for e in EXPERIMENTS]
    thresholds = np.array([e.free_shipping_from or 0 for e in EXPERIMENTS], dtype=np.int64)
    return {
        "experiment_id": [e.experiment_id for e in EXPERIMENTS],
        "started_at": timestamps(np.array([span[0] for span in spans], dtype=np.int64)),
        "ended_at": timestamps(np.array([span[1] for span in spans], dtype=np.int64)),
        "treatment_share": [campaigns.TREATMENT_SHARE] * len(EXPERIMENTS),
        "order_lift": [e.order_lift for e in EXPERIMENTS],
        "spend_lift": [e.spend_lift for e in EXPERIMENTS],
        "free_shipping_from": pick(money(thresholds), np.where(thresholds > 0, np.arange(len(EXPERIMENTS)), -1)),
    }


def _fraud_rings(world: World) -> Columns:
    folk = world.people
    member = np.flatnonzero(folk.ring >= 0)
    return {
        "ring_id": _ring_ids(folk.ring[member]),
        "customer_id": pick(world.customer_ids, member),
        "is_address_shared": folk.ring_shares_address(folk.ring[member]),
    }


def _fraud_orders(world: World) -> Columns:
    bones = world.skeleton
    fraud = np.flatnonzero(orders.fate(world, bones.person, bones.key)[0])
    return {
        "order_id": orders.order_ids(fraud),
        "ordered_at": timestamps(bones.time[fraud]),
        "ring_id": _ring_ids(world.people.ring[bones.person[fraud]]),
        "charged_back_at": timestamps(aftersales.refund_times(world, fraud)),
    }


def _loyalty_tiers(world: World) -> Columns:
    bones, folk = world.skeleton, world.people
    customer = np.arange(folk.customers)
    who, when, tier = [customer], [folk.registered_at[customer]], [np.zeros(folk.customers, dtype=np.int64)]
    before = tier[0]
    for review, moment in enumerate(bones.review_times):
        now = bones.tiers[review].astype(np.int64)
        changed = np.flatnonzero((now != before) & (folk.registered_at[customer] < moment))
        who, when, tier = [*who, changed], [*when, np.full(len(changed), moment)], [*tier, now[changed]]
        before = now
    return {
        "customer_id": pick(world.customer_ids, np.concatenate(who)),
        "valid_from": timestamps(np.concatenate(when)),
        "loyalty_tier": pick(TIERS, np.concatenate(tier)),
    }


def _loyalty_effects() -> Columns:
    return {
        "loyalty_tier": TIERS,
        "from_orders": [0, *TIER_FROM_ORDERS.tolist()],
        "order_lift": LOYALTY_LIFT,
        "ships_free": [tier >= orders.SHIPS_FREE_FROM_TIER for tier in range(len(TIERS))],
    }
