"""The dataset `events`: the visits that lead to orders, visits that lead to none, and e-mails.

Every visit ends at an anchor (its order, or a moment of its day) and reaches back from it, so a window needs only the
anchors up to the longest visit after its end. Orders are in `orders`; who gets an e-mail is planted in `campaigns`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from ecom_assets.contracts.web import EVENT_TYPES
from ecom_assets.simulator import people
from ecom_assets.simulator.campaigns import EFFECT_DAYS, EMAIL_CAMPAIGNS, SEND_HOURS, Assignment
from ecom_assets.simulator.catalog import draw_segments
from ecom_assets.simulator.columns import DAY, HOUR, MINUTE, SECOND, Rows, by_time, hexadecimal, pick, timestamps
from ecom_assets.simulator.orders import CHANNELS, DEVICES, EMAIL, describe, fill, order_ids
from ecom_assets.simulator.paid import PAID_CHANNELS
from ecom_assets.simulator.streams import Bits, Bools, Floats, Ints
from ecom_assets.simulator.world import World

PAGE_VIEW, PRODUCT_VIEW, ADD_TO_CART, CHECKOUT, PURCHASE, SENT, OPEN, CLICK = range(len(EVENT_TYPES))
LONGEST_VISIT = 2 * HOUR
PACE_SECONDS = (15.0, 55.0)

BROWSE_CHANNELS = np.array([0.11, 0.08, 0.05, 0.05, 0.37, 0.25, 0.05, 0.04])
LOGGED_IN_SHARE = 0.65
LAPSED_VISITS = 0.04
STRANGERS_PER_CUSTOMER = 0.012
CART_SHARE, CHECKOUT_SHARE = 0.16, 0.05
MOST_BROWSED = 20
TOUCH_CHANCE, TOUCH_DAYS = 0.8, (0.5, 6.0)
OPEN_CHANCE, CLICK_CHANCE, OPEN_HOURS, LAST_OPEN_DAYS = 0.40, 0.22, 7.0, 10
CELLS_AT_ONCE = 1_000_000

LATE_SHARE_BELOW = (0.0, 0.4, 0.7, 0.9, 1.0)
LATE_HOURS_BELOW = (1 / 60, 1.0, 6.0, 24.0, 48.0)
PROMPT_SECONDS = 3.0


@dataclass(frozen=True)
class _Events:
    """Events, unordered. -1 stands for none in `customer`, `campaign`, `product` and `order`."""

    time: Ints
    key: Bits
    type: Ints
    visitor: Bits
    customer: Ints
    device: Ints
    channel: Ints
    campaign: Ints
    product: Ints
    order: Ints

    def __getitem__(self, rows: Ints | Bools) -> _Events:
        return _Events(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class _Visits:
    """Visits that lead to no order; `anchor` is the moment of the last event, `length` the number of events."""

    key: Bits
    anchor: Ints
    day: Ints
    visitor: Bits
    customer: Ints
    device: Ints
    channel: Ints
    segment: Ints
    length: Ints


def event_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `events` for events that occurred in `[start, end)`."""
    parts = [
        _ordering(world, start, end),
        _browsing(world, start, end),
        _touching(world, start, end),
        *(_mailing(world, assignment, start, end) for assignment in world.skeleton.assignments),
    ]
    merged = _Events(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Events)))
    inside = np.flatnonzero((merged.time >= start) & (merged.time < end))
    events = merged[inside[by_time(merged.time[inside], merged.key[inside])]]
    columns = {
        "event_id": hexadecimal("", events.key),
        "occurred_at": timestamps(events.time),
        "received_at": timestamps(events.time + _delay(world, events.key)),
        "event_type": pick(EVENT_TYPES, events.type),
        "visitor_id": hexadecimal("v_", events.visitor),
        "customer_id": pick(world.customer_ids, events.customer),
        "device": pick(DEVICES, events.device),
        "channel": pick(CHANNELS, events.channel),
        "campaign_id": pick(world.campaign_ids, events.campaign),
        "product_id": pick(world.product_ids, events.product),
        "order_id": _order_ids(events.order),
    }
    return Rows(events.time, events.key, columns)


def _order_ids(order: Ints) -> pa.Array:
    known = order >= 0
    place = np.where(known, np.cumsum(known) - 1, -1)
    return pick(order_ids(order[known]), place)


def _delay(world: World, key: Bits) -> Ints:
    """Microseconds until each event reaches the shop: seconds, or for the late ones up to 48 hours."""
    late = world.config.late_rate
    drawn = world.streams.uniform("event.late", key)
    delay = (drawn - late) / max(1 - late, 1e-9) * PROMPT_SECONDS * SECOND
    slow = drawn < late
    delay[slow] = np.interp(drawn[slow] / max(late, 1e-9), LATE_SHARE_BELOW, LATE_HOURS_BELOW) * HOUR
    return delay.astype(np.int64)


def _spread(anchor: Ints, duration: Floats, place: Ints, length: Ints, jitter: Floats) -> Ints:
    """The moments of a visit's events: evenly spread with jitter, the last one at the anchor."""
    part = np.where(place == length - 1, 1.0, (place + 0.8 * jitter) / length)
    time: Ints = anchor - (duration * (1 - part)).astype(np.int64)
    return time


def _duration(world: World, key: Bits, length: Ints) -> Floats:
    slow, fast = PACE_SECONDS
    return length * (slow + (fast - slow) * world.streams.uniform("visit.pace", key)) * SECOND


def _ordering(world: World, start: int, end: int) -> _Events:
    """The visits in which orders are placed: views, each line viewed and put in the cart, checkout, purchase."""
    streams, folk = world.streams, world.people
    orders = describe(world, world.skeleton.between(start, end + LONGEST_VISIT))
    lines = fill(world, orders)
    pages = 1 + (streams.uniform("visit.pages", orders.key) ** 2 * 3).astype(np.int64)
    length = pages + 2 * lines.count + 2
    visit = np.repeat(np.arange(len(orders)), length)
    place = np.arange(len(visit)) - np.repeat(np.cumsum(length) - length, length)
    step = place - pages[visit]
    shopping = (step >= 0) & (step < 2 * lines.count[visit])
    kind = np.where(shopping, PRODUCT_VIEW + step % 2, PAGE_VIEW)
    kind = np.where(step == 2 * lines.count[visit], CHECKOUT, kind)
    bought = step == 2 * lines.count[visit] + 1
    kind = np.where(bought, PURCHASE, kind)
    line = np.where(shopping, lines.first[visit] + step // 2, 0)
    key = streams.bits("event.order", orders.key[visit], place)
    jitter = (key >> np.uint64(40)).astype(np.float64) / 2.0**24
    time = _spread(orders.time[visit], _duration(world, orders.key, length)[visit], place, length[visit], jitter)
    customer = world.customer_number(orders.person)
    early = streams.uniform("visit.login", orders.key) < LOGGED_IN_SHARE
    known = (early[visit] | (kind >= CHECKOUT)) & (time >= folk.registered_at[orders.person][visit])
    return _Events(
        time=time,
        key=key,
        type=kind,
        visitor=folk.device_id(orders.person, orders.device)[visit],
        customer=np.where(known, customer[visit], -1),
        device=orders.device[visit],
        channel=orders.channel[visit],
        campaign=orders.campaign[visit],
        product=np.where(shopping, lines.product[line], -1),
        order=np.where(bought, orders.number[visit], -1),
    )


def _browsing(world: World, start: int, end: int) -> _Events:
    """The visits of customers and strangers that lead to no order."""
    calendar = world.calendar
    first = max(0, (start - calendar.start) // DAY)
    last = min(calendar.days, -((calendar.start - end - LONGEST_VISIT) // DAY))
    size = max(1, CELLS_AT_ONCE // world.config.customers)
    groups = [np.arange(at, min(at + size, last)) for at in range(first, last, size)]
    parts = [visits for day in groups for visits in (_customer_visits(world, day), _stranger_visits(world, day))]
    visits = _Visits(*(np.concatenate([getattr(p, f.name) for p in parts or [_no_visits()]]) for f in fields(_Visits)))
    near = (visits.anchor >= start) & (visits.anchor < end + LONGEST_VISIT)
    return _walk(world, _Visits(*(getattr(visits, f.name)[near] for f in fields(_Visits))))


def _no_visits() -> _Visits:
    whole, bits = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    return _Visits(bits, whole, whole, bits, whole, whole, whole, whole, whole)


def _customer_visits(world: World, day: Ints) -> _Visits:
    """At most one visit for each customer and day; who has dropped out nearly stops coming."""
    streams, folk, calendar = world.streams, world.people, world.calendar
    customer = np.arange(folk.customers)
    keen = 0.4 + 0.6 * np.minimum(folk.rate[customer] * people.RATE_SCALE_DAYS, 3.0)
    chance = people.VISITS_PER_DAY[folk.persona[customer]] * keen
    opening, closing = calendar.day_start(day), calendar.day_start(day + 1)
    state = np.where(world.skeleton.dropped_at[customer] < opening[:, None], LAPSED_VISITS, 1.0)
    chance = chance * state * calendar.intensity[day][:, None] * (folk.registered_at[customer] < closing[:, None])
    bits = streams.bits("visit", day[:, None], customer)
    row, who = np.nonzero((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 < chance)
    key = streams.bits("visit.key", bits[row, who])
    anchor = opening[row] + calendar.hour_of_day(streams.uniform("visit.hour", key))
    met = (anchor > folk.registered_at[who]) & (anchor < calendar.end)
    row, who, key, anchor = row[met], who[met], key[met], anchor[met]
    mobile = people.MOBILE_SHARE[folk.persona[who]]
    screen = streams.uniform("visit.device", key)
    device = np.where(screen < mobile, 1, np.where(screen < mobile + 0.06, 2, 0))
    logged_in = streams.uniform("visit.login", key) < LOGGED_IN_SHARE
    wanted = world.catalog.segment_preference(folk, who) * _segment_weight(world, day)[row]
    return _Visits(
        key=key,
        anchor=anchor,
        day=day[row],
        visitor=folk.device_id(who, device),
        customer=np.where(logged_in, who, -1),
        device=device,
        channel=_browse_channel(world, key),
        segment=draw_segments(wanted, streams.uniform("visit.segment", key)),
        length=_browse_length(world, key),
    )


def _stranger_visits(world: World, day: Ints) -> _Visits:
    """Visits of people who never buy."""
    streams, calendar = world.streams, world.calendar
    mean = STRANGERS_PER_CUSTOMER * world.config.customers * calendar.intensity[day]
    count = np.maximum(np.rint(mean + np.sqrt(mean) * streams.normal("stranger.count", day)), 0).astype(np.int64)
    row = np.repeat(np.arange(len(day)), count)
    each = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    key = streams.bits("stranger", day[row], each)
    return _Visits(
        key=key,
        anchor=calendar.day_start(day[row]) + calendar.hour_of_day(streams.uniform("visit.hour", key)),
        day=day[row],
        visitor=streams.bits("stranger.visitor", key),
        customer=np.full(len(row), -1),
        device=np.searchsorted((0.35, 0.93), streams.uniform("visit.device", key)),
        channel=_browse_channel(world, key),
        segment=draw_segments(_segment_weight(world, day)[row], streams.uniform("visit.segment", key)),
        length=_browse_length(world, key),
    )


def _segment_weight(world: World, day: Ints) -> Floats:
    return world.catalog.market(int(day[0]), int(day[-1]) + 1).segment_weight()


def _browse_channel(world: World, key: Bits) -> Ints:
    return np.searchsorted(np.cumsum(BROWSE_CHANNELS)[:-1], world.streams.uniform("visit.channel", key))


def _browse_length(world: World, key: Bits) -> Ints:
    drawn = world.streams.exponential("visit.length", key) * 3
    return 1 + np.minimum(drawn, MOST_BROWSED - 1).astype(np.int64)


def _touching(world: World, start: int, end: int) -> _Events:
    """Earlier visits, through the paid channel that caused it, of those who order days later."""
    streams, folk = world.streams, world.people
    low, high = TOUCH_DAYS
    number = world.skeleton.between(start, end + int(high * DAY) + LONGEST_VISIT)
    key = world.skeleton.key[number]
    lag = ((low + (high - low) * streams.uniform("touch.lag", key)) * DAY).astype(np.int64)
    anchor = world.skeleton.time[number] - lag
    near = (anchor >= max(start, world.calendar.start)) & (anchor < end + LONGEST_VISIT)
    orders = describe(world, number[near & (streams.uniform("touch", key) < TOUCH_CHANCE)])
    chosen = np.flatnonzero(orders.paid_cause >= 0)
    person, key = orders.person[chosen], streams.bits("touch.key", orders.key[chosen])
    anchor = anchor[orders.number[chosen] - number[0]] if len(chosen) else anchor[:0]
    day, device = world.calendar.day_of(anchor), orders.device[chosen]
    if len(chosen) == 0:
        return _walk(world, _no_visits())
    market = world.catalog.market(int(day.min()), int(day.max()) + 1)
    wanted = world.catalog.segment_preference(folk, person) * market.segment_weight()[day - market.first]
    visits = _Visits(
        key=key,
        anchor=anchor,
        day=day,
        visitor=folk.device_id(person, device),
        customer=np.where(folk.registered_at[person] < anchor - LONGEST_VISIT, world.customer_number(person), -1),
        device=device,
        channel=orders.paid_cause[chosen],
        segment=draw_segments(wanted, streams.uniform("visit.segment", key)),
        length=_browse_length(world, key),
    )
    return _walk(world, visits)


def _walk(world: World, visits: _Visits) -> _Events:
    """The events of visits without an order: a page, products, for some a cart, for a few an abandoned checkout."""
    streams = world.streams
    visit = np.repeat(np.arange(len(visits.key)), visits.length)
    place = np.arange(len(visit)) - np.repeat(np.cumsum(visits.length) - visits.length, visits.length)
    wish = streams.uniform("visit.cart", visits.key)
    carts = (wish < CART_SHARE) & (visits.length >= 4)
    leaves = carts & (wish < CHECKOUT_SHARE)
    end = visits.length[visit] - 1 - place
    kind = np.where(place == 0, PAGE_VIEW, PRODUCT_VIEW)
    kind = np.where(carts[visit] & (end == 1), ADD_TO_CART, kind)
    kind = np.where(leaves[visit] & (end == 0), CHECKOUT, kind)
    key = streams.bits("event.visit", visits.key[visit], place)
    jitter = (key >> np.uint64(40)).astype(np.float64) / 2.0**24
    duration = _duration(world, visits.key, visits.length)
    time = _spread(visits.anchor[visit], duration[visit], place, visits.length[visit], jitter)
    product = np.full(len(visit), -1)
    shown = np.flatnonzero((kind == PRODUCT_VIEW) | (kind == ADD_TO_CART))
    if len(shown):
        mine = visit[shown]
        seen = streams.uniform("visit.product", visits.key[mine], place[shown] - (kind[shown] == ADD_TO_CART))
        day = visits.day[mine]
        market = world.catalog.market(int(day.min()), int(day.max()) + 1)
        product[shown] = market.choose(day, visits.segment[mine], seen)
    paid = world.paid.campaign_of[np.minimum(visits.channel, len(PAID_CHANNELS) - 1), visits.day]
    campaign = np.where(visits.channel < len(PAID_CHANNELS), len(EMAIL_CAMPAIGNS) + paid, -1)
    return _Events(
        time=time,
        key=key,
        type=kind,
        visitor=visits.visitor[visit],
        customer=visits.customer[visit],
        device=visits.device[visit],
        channel=visits.channel[visit],
        campaign=campaign[visit],
        product=product,
        order=np.full(len(visit), -1),
    )


def _mailing(world: World, assignment: Assignment, start: int, end: int) -> _Events:
    """A campaign's e-mails: sent, for some opened, for fewer clicked; who orders because of one clicked on it."""
    streams, folk, bones = world.streams, world.people, world.skeleton
    treated = assignment.customer[assignment.treated]
    if assignment.sent_at >= end or assignment.sent_at + (EFFECT_DAYS + 2) * DAY <= start:
        treated = treated[:0]
    name = assignment.campaign.campaign_id
    number = EMAIL_CAMPAIGNS.index(assignment.campaign)
    sent = assignment.sent_at + (streams.uniform(f"{name}.sent", treated) * SEND_HOURS * HOUR).astype(np.int64)
    wait = np.minimum(streams.exponential(f"{name}.open", treated) * OPEN_HOURS * HOUR, LAST_OPEN_DAYS * DAY)
    opened = sent + MINUTE + wait.astype(np.int64)
    interest = streams.uniform(f"{name}.interest", treated)
    opens, clicks = interest < OPEN_CHANCE, interest < OPEN_CHANCE * CLICK_CHANCE
    caused = bones.cause == number + 1
    ordered_at = np.zeros(folk.count, dtype=np.int64)
    ordered_at[bones.person[caused]] = bones.time[caused]
    orders = ordered_at[treated] > 0
    opened = np.where(orders, ordered_at[treated] - 45 * MINUTE, opened)
    opens, clicks = opens | orders, clicks | orders
    clicked = opened + (20 + 60 * streams.uniform(f"{name}.click", treated) * SECOND).astype(np.int64)
    who = np.concatenate([treated, treated[opens], treated[clicks]])
    kind = np.repeat([SENT, OPEN, CLICK], [len(treated), opens.sum(), clicks.sum()])
    device = np.where(streams.uniform(f"{name}.device", who) < people.MOBILE_SHARE[folk.persona[who]], 1, 0)
    none = np.full(len(who), -1)
    return _Events(
        time=np.concatenate([sent, opened[opens], clicked[clicks]]),
        key=streams.bits(f"{name}.event", who, kind),
        type=kind,
        visitor=folk.device_id(who, device),
        customer=who,
        device=device,
        channel=np.full(len(who), EMAIL),
        campaign=np.full(len(who), number),
        product=none,
        order=none,
    )
