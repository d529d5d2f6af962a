"""What is in an order: who placed it how, its lines, prices, discounts and totals, each from the order alone.

Rows of `orders` and `order_items` are made here. Payments, refunds and reviews of an order are in `aftersales`; the
visit that led to it is in `web`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ecom_assets.simulator import campaigns, people
from ecom_assets.simulator.campaigns import EMAIL_CAMPAIGNS, EXPERIMENTS
from ecom_assets.simulator.catalog import PRODUCTS, place_below
from ecom_assets.simulator.columns import DAY, Rows, by_time, integers, money, numbered, pick, price, timestamps
from ecom_assets.simulator.identities import places
from ecom_assets.simulator.paid import PAID_CHANNELS
from ecom_assets.simulator.streams import Bits, Bools, Floats, Ints, poisson, unit
from ecom_assets.simulator.world import World

CHANNELS = (*(channel.name for channel in PAID_CHANNELS), "direct", "organic", "email", "referral")
DIRECT, ORGANIC, EMAIL = (CHANNELS.index(name) for name in ("direct", "organic", "email"))
UNCAUSED_CHANNELS = np.array([0.13, 0.04, 0.01, 0.09, 0.36, 0.26, 0.07, 0.04])
"""Channels of the visits of orders that no channel caused: affiliates and search take credit for what came anyway."""
CREDIT = 0.70
"""The chance that the ordering visit of an order that a paid channel caused comes through that channel."""
DEVICES = ("desktop", "mobile", "tablet")
STATUSES = ("placed", "shipped", "completed", "cancelled")
GENERAL_COUPONS = ("SAVE10", "WELCOME10")
COUPONS = (*GENERAL_COUPONS, *(campaign.coupon_code for campaign in EMAIL_CAMPAIGNS))
COUPON_PCT = np.array([10, 10, *(campaign.discount_pct for campaign in EMAIL_CAMPAIGNS)])
WELCOME_CHANCE = 0.3
CANCELLED_CHANCE = 0.02
FRAUD_CHANCE_IN_RING, FRAUD_CHANCE_ALONE, FRAUD_SPEND = 0.7, 0.0006, 2.2
LINES_PER_EURO, MOST_LINES, MOST_UNITS = 0.028, 12, 48
PARTNER_CHANCE, PARTNER_RESPONSE_CAP = 0.06, 4.0
FREE_SHIPPING_FROM, SHIPPING_CENTS = 4900, 490
SHIPS_FREE_FROM_TIER = 2
TWO_VERSIONS_SHARE = 0.10
BUDGET_SHARE = 0.955
"""Planned for at base prices, of the target: whole units and list prices above base add the rest (measured)."""
CHUNK = 8_192


@dataclass(frozen=True)
class Orders:
    """Orders and what is known of each before its lines; arrays are as long as each other.

    `paid_cause` is the paid channel that caused the order, -1 for none; `campaign` and `coupon` are -1 for none;
    `target` is the planned spend in euros; `free_shipping_from` in cents.
    """

    number: Ints
    time: Ints
    person: Ints
    key: Bits
    day: Ints
    cause: Ints
    is_first: Bools
    paid_cause: Ints
    channel: Ints
    campaign: Ints
    device: Ints
    coupon: Ints
    is_fraud: Bools
    is_cancelled: Bools
    target: Floats
    free_shipping_from: Ints

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Lines:
    """Order lines, those of one order together; `order` is the position of the order in its batch. Money in cents."""

    order: Ints
    line_number: Ints
    product: Ints
    quantity: Ints
    price_cents: Ints
    discount_cents: Ints
    first: Ints
    """The position of each order's first line."""
    count: Ints
    """The number of lines of each order."""


@dataclass(frozen=True)
class Totals:
    """The amounts of each order in cents."""

    subtotal: Ints
    discount: Ints
    shipping: Ints

    @property
    def total(self) -> Ints:
        """What is to be paid."""
        return self.subtotal - self.discount + self.shipping


def describe(world: World, number: Ints) -> Orders:
    """The orders with these numbers."""
    bones = world.skeleton
    time, person, key = bones.time[number], bones.person[number], bones.key[number]
    return conceive(world, number, time, person, key, bones.cause[number], bones.is_first[number])


def conceive(world: World, number: Ints, time: Ints, person: Ints, key: Bits, cause: Ints, is_first: Bools) -> Orders:
    """Orders from time, person, key and cause; also for orders that might have been, whose number means nothing."""
    streams, folk = world.streams, world.people
    day = world.calendar.day_of(time)
    paid_cause = _paid_cause(world, key, day, cause)
    email = np.where((cause >= 1) & (cause <= len(EMAIL_CAMPAIGNS)), cause - 1, -1)
    uncaused = np.searchsorted(np.cumsum(UNCAUSED_CHANNELS)[:-1], streams.uniform("order.channel", key))
    credited = streams.uniform("order.credit", key) < CREDIT
    channel = np.where(paid_cause >= 0, np.where(credited, paid_cause, DIRECT), uncaused)
    channel = np.where(email >= 0, EMAIL, channel)
    paid_campaign = len(EMAIL_CAMPAIGNS) + world.paid.campaign_of[np.minimum(channel, len(PAID_CHANNELS) - 1), day]
    campaign = np.where(email >= 0, email, np.where(channel < len(PAID_CHANNELS), paid_campaign, -1))

    persona = folk.persona[person]
    on_mobile = streams.uniform("order.device", key)
    mobile = people.MOBILE_SHARE[persona]
    device = np.where(on_mobile < mobile, 1, np.where(on_mobile < mobile + 0.06, 2, 0))
    saves = streams.uniform("order.coupon", key) < people.COUPON_CHANCE[persona]
    welcomed = is_first & (streams.uniform("order.welcome", key) < WELCOME_CHANCE)
    coupon = np.where(email >= 0, email + len(GENERAL_COUPONS), np.where(welcomed, 1, np.where(saves, 0, -1)))

    is_fraud, is_cancelled = fate(world, person, key)
    shape = people.SPEND_SHAPE
    target = folk.spend[person] * streams.erlang("order.spend", shape, key) / shape
    target *= np.where(is_fraud, FRAUD_SPEND, 1.0)
    threshold = np.where(world.skeleton.tier(person, time) >= SHIPS_FREE_FROM_TIER, 0, FREE_SHIPPING_FROM)
    for experiment in EXPERIMENTS:
        treated = in_treatment(world, experiment, person, time)
        target = np.where(treated, target * (1 + experiment.spend_lift), target)
        if experiment.free_shipping_from is not None:
            threshold = np.where(treated, np.minimum(threshold, experiment.free_shipping_from), threshold)
    return Orders(
        number, time, person, key, day, cause, is_first, paid_cause, channel, campaign, device, coupon,
        is_fraud, is_cancelled, target, threshold,
    )  # fmt: skip


def fate(world: World, person: Ints, key: Bits) -> tuple[Bools, Bools]:
    """Whether each order is a fraud, and whether it is cancelled because no payment went through."""
    chance = np.where(world.people.ring[person] >= 0, FRAUD_CHANCE_IN_RING, FRAUD_CHANCE_ALONE)
    is_fraud = world.streams.uniform("order.fraud", key) < chance
    return is_fraud, ~is_fraud & (world.streams.uniform("order.cancelled", key) < CANCELLED_CHANCE)


def in_treatment(world: World, experiment: campaigns.ShopExperiment, person: Ints, time: Ints) -> Bools:
    """Whether each person was in the treatment of a running experiment at each moment."""
    calendar, folk = world.calendar, world.people
    span = campaigns.experiment_span(experiment, calendar.start, calendar.days)
    inside = (time >= span[0]) & (time < span[1]) & (person < folk.customers)
    found = np.zeros(len(person), dtype=bool)
    if inside.any():
        who = person[inside]
        entered = campaigns.assigned_at(experiment, span, who, folk.registered_at[who], world.streams)
        found[inside] = campaigns.is_treatment(experiment, who, world.streams) & (entered <= time[inside])
    return found


def _paid_cause(world: World, key: Bits, day: Ints, cause: Ints) -> Ints:
    """Which paid channel an order of one's own wish is due to: a channel's part of the day's demand is its chance."""
    share = np.cumsum(world.calendar.paid / (1 + world.calendar.paid.sum(axis=0)), axis=0)
    row = (share.T[day] < world.streams.uniform("order.cause", key)[:, None]).sum(axis=1)
    return np.where((cause == 0) & (row < len(PAID_CHANNELS)), row, -1)


def fill(world: World, orders: Orders) -> Lines:
    """The lines of each order, at the prices of its day; at least one for each order.

    The first line takes some product for sure; further lines come at a rate that falls as prices rise, so that demand
    has the planted elasticity and does not merely move between products.
    """
    if len(orders) == 0:
        none = np.zeros(0, dtype=np.int64)
        return Lines(none, none, none, none, none, none, none, none)
    parts = [_fill_chunk(world, orders, slice(at, at + CHUNK)) for at in range(0, len(orders), CHUNK)]
    order, product, quantity, cents, discount = (np.concatenate(part) for part in zip(*parts, strict=True))
    count = np.bincount(order, minlength=len(orders))
    first = np.cumsum(count) - count
    return Lines(order, np.arange(len(order)) - first[order] + 1, product, quantity, cents, discount, first, count)


def _fill_chunk(world: World, orders: Orders, part: slice) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    streams, catalog, folk = world.streams, world.catalog, world.people
    day, person, key, target = orders.day[part], orders.person[part], orders.key[part], orders.target[part]
    market = catalog.market(int(day.min()), int(day.max()) + 1)
    usual = catalog.segment_preference(folk, person)
    wanted = usual * market.segment_weight()[day - market.first].astype(np.float32)
    base = usual @ np.bincount(catalog.segment, weights=catalog.popularity).astype(np.float32)
    appeal = (wanted.sum(axis=1) / base).astype(np.float64)

    mean = np.minimum(LINES_PER_EURO * target * people.BREADTH[folk.persona[person]], MOST_LINES / 2)
    count = 1 + poisson(streams.uniform("lines", key), mean * appeal, MOST_LINES - 1)
    order = np.repeat(np.arange(len(key)), count)
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    seed = streams.bits("line", key[order], place)

    running = np.cumsum(wanted, axis=1)
    segment = place_below(running, order, unit(seed))
    product = market.choose(day[order], segment, streams.uniform("line.product", seed))
    partner = catalog.partner[product[np.cumsum(count) - count]][order]
    today = day[order] - market.first
    chance = PARTNER_CHANCE * np.minimum(market.response[today, partner], PARTNER_RESPONSE_CAP)
    follows = (place > 0) & (streams.uniform("line.partner", seed) < chance) & (market.weight[today, partner] > 0)
    product = np.where(follows, partner, product)
    _, kept = np.unique(order * PRODUCTS + product, return_index=True)
    kept.sort()
    order, product, seed, today = order[kept], product[kept], seed[kept], today[kept]

    budget = 100 * BUDGET_SHARE * target * (1 + mean * appeal) / (1 + mean) / np.bincount(order, minlength=len(key))
    wish = budget[order] / catalog.base_cents[product]
    quantity = np.clip((wish + streams.uniform("line.units", seed)).astype(np.int64), 1, MOST_UNITS)
    cents = market.price_cents[today, product]
    coupon = orders.coupon[part][order]
    left = (100 - market.promotion_pct[today, product]) * (100 - np.where(coupon >= 0, COUPON_PCT[coupon], 0))
    discount = quantity * cents * (10_000 - left) // 10_000
    return order + part.start, product, quantity, cents, discount


def add_up(orders: Orders, lines: Lines) -> Totals:
    """The amounts of each order."""
    gross = np.bincount(lines.order, weights=lines.quantity * lines.price_cents, minlength=len(orders))
    subtotal = gross.astype(np.int64)
    discount = np.bincount(lines.order, weights=lines.discount_cents, minlength=len(orders)).astype(np.int64)
    shipping = np.where(subtotal - discount >= orders.free_shipping_from, 0, SHIPPING_CENTS)
    return Totals(subtotal, discount, shipping)


def order_ids(number: Ints) -> pa.Array:
    """The identifiers of orders."""
    return numbered("O", number + 1)


def order_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `orders` for orders placed in `[start, end)`."""
    orders = describe(world, world.skeleton.between(start, end))
    totals = add_up(orders, fill(world, orders))
    streams = world.streams
    age = world.calendar.end - orders.time
    settled = np.where(age < 3 * DAY, 0, np.where(age < 10 * DAY, 1, 2))
    status = np.where(orders.is_cancelled, 3, settled)
    wait = ((1 + 8 * streams.uniform("order.settled", orders.key)) * DAY).astype(np.int64)
    updated = np.where(status == 0, orders.time, np.minimum(orders.time + wait, world.calendar.end - 1))
    twice = (status > 0) & (streams.uniform("order.versions", orders.key) < TWO_VERSIONS_SHARE)
    place = np.concatenate([np.arange(len(orders)), np.flatnonzero(twice)])
    status = np.concatenate([status, np.zeros(twice.sum(), dtype=np.int64)])
    updated = np.concatenate([updated, orders.time[twice]])
    key = streams.bits("order.row", orders.key[place], status)
    sort = by_time(orders.time[place], key)
    place, status, updated, key = place[sort], status[sort], updated[sort], key[sort]
    person = orders.person[place]
    shipped = places(world, person, orders.time[place])
    columns = {
        "order_id": order_ids(orders.number[place]),
        "updated_at": timestamps(updated),
        "ordered_at": timestamps(orders.time[place]),
        "customer_id": pick(world.customer_ids, world.customer_number(person)),
        "status": pick(STATUSES, status),
        "channel": pick(CHANNELS, orders.channel[place]),
        "device": pick(DEVICES, orders.device[place]),
        "campaign_id": pick(world.campaign_ids, orders.campaign[place]),
        "coupon_code": pick(COUPONS, orders.coupon[place]),
        "subtotal_amount": money(totals.subtotal[place]),
        "discount_amount": money(totals.discount[place]),
        "shipping_amount": money(totals.shipping[place]),
        "total_amount": money(totals.total[place]),
        "shipping_city": shipped["city"],
        "shipping_postal_code": shipped["postal_code"],
        "shipping_country": shipped["country"],
    }
    return Rows(orders.time[place], key, columns)


def item_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `order_items` for orders placed in `[start, end)`."""
    orders = describe(world, world.skeleton.between(start, end))
    lines = fill(world, orders)
    time = orders.time[lines.order]
    columns = {
        "order_id": order_ids(orders.number).take(pa.array(lines.order)),
        "line_number": integers(lines.line_number),
        "ordered_at": timestamps(time),
        "product_id": pick(world.product_ids, lines.product),
        "quantity": integers(lines.quantity),
        "unit_price": price(lines.price_cents),
        "discount_amount": money(lines.discount_cents),
    }
    return Rows(time, world.streams.bits("item", orders.key[lines.order], lines.line_number), columns)
