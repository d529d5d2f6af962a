"""What follows an order: the datasets `payments`, `refunds` and `reviews`.

Each is drawn from its order alone; a window's rows come from the orders of the days before it. Chargebacks are the
labels of fraud, and arrive weeks after it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecom_assets.simulator.columns import (
    DAY,
    MINUTE,
    SECOND,
    Rows,
    blank,
    by_time,
    decimals,
    hexadecimal,
    integers,
    money,
    pick,
    timestamps,
)
from ecom_assets.simulator.orders import add_up, describe, fate, fill, order_ids
from ecom_assets.simulator.people import NEVER
from ecom_assets.simulator.streams import Bits, Floats, Ints
from ecom_assets.simulator.world import World

METHODS = ("card", "paypal", "invoice", "bank_transfer")
METHOD_SHARES = np.array([0.58, 0.24, 0.12, 0.06])
DECLINED_ONCE, DECLINED_TWICE = 0.04, 0.008
SECOND_CARD_SHARE = 0.15
PAYMENT_SPAN = 10 * MINUTE

RETURN_CHANCE = 0.07
RETURN_REASONS = ("return", "damaged", "not_as_described")
RETURN_REASON_SHARES = np.array([0.7, 0.18, 0.12])
CHARGEBACK = "chargeback"
RETURN_DAYS, CHARGEBACK_DAYS = (4.0, 30.0), (12.0, 90.0)
CHARGEBACK_MEDIAN_DAYS, CHARGEBACK_SPREAD = 32.0, 0.45

REVIEW_CHANCE = 0.09
REVIEW_DAYS = (3.0, 30.0)
PRAISE = (
    "Exactly what I hoped for.",
    "Lovely quality.",
    "Would buy again.",
    "A present that was a success.",
    "Great value.",
)
MIXED = ("It is fine.", "Good, but smaller than I thought.", "Does what it should.", "Packaging could be better.")
BLAME = (
    "Not as described.",
    "It broke in the first week.",
    "Arrived late and damaged.",
    "I expected more for the price.",
)
NO_TEXT_SHARE = 0.3


def payment_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `payments` for attempts made in `[start, end)`: declined ones first, the captured one last."""
    orders = describe(world, world.skeleton.between(start - PAYMENT_SPAN, end))
    totals = add_up(orders, fill(world, orders))
    streams, folk = world.streams, world.people
    trouble = streams.uniform("payment.declined", orders.key)
    declined = (trouble < DECLINED_ONCE).astype(np.int64) + (trouble < DECLINED_TWICE)
    declined = np.where(orders.is_cancelled, np.maximum(declined, 1), declined)
    attempts = declined + ~orders.is_cancelled
    order = np.repeat(np.arange(len(orders)), attempts)
    attempt = np.arange(len(order)) - np.repeat(np.cumsum(attempts) - attempts, attempts)
    pause = (streams.uniform("payment.pause", orders.key[order], attempt) * 90 + 5) * SECOND
    time = orders.time[order] + 4 * SECOND + attempt * 2 * MINUTE + pause.astype(np.int64)
    time = np.minimum(time, world.calendar.end - 1)
    key = streams.bits("payment", orders.key[order], attempt)
    inside = (time >= start) & (time < end)
    order, attempt, time, key = order[inside], attempt[inside], time[inside], key[inside]
    sort = by_time(time, key)
    order, attempt, time, key = order[sort], attempt[sort], time[sort], key[sort]

    person, is_fraud = orders.person[order], orders.is_fraud[order]
    method = np.searchsorted(np.cumsum(METHOD_SHARES)[:-1], streams.uniform("payment.method", person))
    method = np.where(is_fraud, 0, method)
    other = (streams.uniform("payment.card", orders.key[order]) < SECOND_CARD_SHARE).astype(np.int64)
    wallet = np.where(method == 1, 0, np.where(streams.uniform("payment.wallet", key) < 0.3, 1, -1))
    columns = {
        "payment_id": hexadecimal("pay_", key),
        "order_id": order_ids(orders.number[order]),
        "paid_at": timestamps(time),
        "method": pick(METHODS, method),
        "status": pick(("declined", "captured"), (attempt == declined[order]).astype(np.int64)),
        "amount": money(totals.total[order]),
        "card_fingerprint": blank(hexadecimal("card_", folk.card(person, other)), method != 0),
        "device_id": hexadecimal("dev_", folk.device_id(person, orders.device[order])),
        "ip_address": _ip(folk.ip_address(person)),
        "wallet": pick(("paypal", "apple_pay"), wallet),
    }
    return Rows(time, key, columns)


def _ip(bits: Bits) -> pa.Array:
    parts = [pc.cast(pa.array((bits >> np.uint64(8 * n)).astype(np.uint8)), pa.string()) for n in range(3)]
    return pc.binary_join_element_wise("10", *parts, ".")


def refund_times(world: World, number: Ints) -> Ints:
    """When each of these orders is refunded, possibly after the shop's end; `NEVER` for the others."""
    streams, bones = world.streams, world.skeleton
    time, key = bones.time[number], bones.key[number]
    is_fraud, is_cancelled = fate(world, bones.person[number], key)
    low, high = RETURN_DAYS
    returned = low + (high - low) * streams.uniform("refund.delay", key) ** 1.6
    lognormal = CHARGEBACK_MEDIAN_DAYS * np.exp(CHARGEBACK_SPREAD * streams.normal("refund.chargeback", key))
    days = np.where(is_fraud, np.clip(lognormal, *CHARGEBACK_DAYS), returned)
    comes = is_fraud | (~is_cancelled & (streams.uniform("refund", key) < RETURN_CHANCE))
    return np.where(comes, time + (days * DAY).astype(np.int64), NEVER)


def refund_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `refunds` for refunds granted in `[start, end)`: a returned line, or all lines of a chargeback."""
    streams = world.streams
    candidates = world.skeleton.between(start - int(CHARGEBACK_DAYS[1] * DAY) - DAY, end)
    when = refund_times(world, candidates)
    chosen = np.flatnonzero((when >= start) & (when < end))
    orders, when = describe(world, candidates[chosen]), when[chosen]
    lines = fill(world, orders)
    order = lines.order
    drawn = 1 + (streams.uniform("refund.line", orders.key) * lines.count).astype(np.int64)
    picked = np.flatnonzero(orders.is_fraud[order] | (lines.line_number == drawn[order]))
    order, line, time = order[picked], lines.line_number[picked], when[order[picked]]
    key = streams.bits("refund", orders.key[order], line)
    sort = by_time(time, key)
    picked, order, line, time, key = picked[sort], order[sort], line[sort], time[sort], key[sort]

    bought, cents = lines.quantity[picked], lines.price_cents[picked]
    is_fraud = orders.is_fraud[order]
    part = 1 + (streams.uniform("refund.units", key) * bought).astype(np.int64)
    units = np.where(is_fraud | (streams.uniform("refund.all", key) < 0.6), bought, np.minimum(part, bought))
    net = bought * cents - lines.discount_cents[picked]
    amount = net * units // bought
    reason = np.searchsorted(np.cumsum(RETURN_REASON_SHARES)[:-1], streams.uniform("refund.reason", orders.key[order]))
    columns = {
        "refund_id": hexadecimal("re_", key),
        "credit_note_id": hexadecimal("cn_", streams.bits("credit_note", orders.key[order])),
        "refunded_at": timestamps(time),
        "order_id": order_ids(orders.number[order]),
        "line_number": integers(line),
        "customer_id": pick(world.customer_ids, world.customer_number(orders.person[order])),
        "product_id": pick(world.product_ids, lines.product[picked]),
        "quantity": integers(units),
        "unit_price": decimals(net * 100 // bought, 4),
        "amount": money(amount),
        "reason": pick((*RETURN_REASONS, CHARGEBACK), np.where(is_fraud, len(RETURN_REASONS), reason)),
    }
    return Rows(time, key, columns)


def review_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `reviews` for reviews written in `[start, end)`, of a line of an order of the days before."""
    streams = world.streams
    candidates = world.skeleton.between(start - int(REVIEW_DAYS[1] * DAY) - DAY, end)
    key = world.skeleton.key[candidates]
    low, high = REVIEW_DAYS
    delay = (low + (high - low) * streams.uniform("review.delay", key) ** 1.5) * DAY
    time = world.skeleton.time[candidates] + delay.astype(np.int64)
    writes = (streams.uniform("review", key) < REVIEW_CHANCE) & (time >= start) & (time < end)
    orders, time = describe(world, candidates[writes]), time[writes]
    lines = fill(world, orders)
    known = (world.customer_number(orders.person) >= 0) & ~orders.is_cancelled
    chosen = np.flatnonzero(known)
    key = streams.bits("review", orders.key[chosen])
    sort = by_time(time[chosen], key)
    chosen, key = chosen[sort], key[sort]

    place = (streams.uniform("review.line", key) * lines.count[chosen]).astype(np.int64)
    product = lines.product[lines.first[chosen] + place]
    quality = 4.1 + 0.5 * streams.normal("product.quality", product)
    rating = np.clip(np.rint(quality + 1.0 * streams.normal("review.rating", key)), 1, 5).astype(np.int64)
    columns = {
        "review_id": hexadecimal("rev_", key),
        "reviewed_at": timestamps(time[chosen]),
        "product_id": pick(world.product_ids, product),
        "customer_id": pick(world.customer_ids, orders.person[chosen]),
        "order_id": order_ids(orders.number[chosen]),
        "rating": integers(rating),
        "body": _body(rating, streams.uniform("review.text", key), streams.uniform("review.silent", key)),
    }
    return Rows(time[chosen], key, columns)


def _body(rating: Ints, uniform: Floats, silent: Floats) -> pa.Array:
    texts = (*PRAISE, *MIXED, *BLAME)
    sizes = np.array([len(PRAISE), len(MIXED), len(BLAME)])
    mood = np.where(rating >= 4, 0, np.where(rating == 3, 1, 2))
    place = (np.cumsum(sizes) - sizes)[mood] + (uniform * sizes[mood]).astype(np.int64)
    return pick(texts, np.where(silent < NO_TEXT_SHARE, -1, place))
