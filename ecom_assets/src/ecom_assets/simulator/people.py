"""Who buys: every customer and guest with what is planted in them, drawn from the seed alone.

Rates, drop-out chances, spend, tastes, personas, devices, cards, fraud rings and moves belong here. When they buy is
in `skeleton`; their names and addresses are in `identities`; the dataset `customers` is in `profiles`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv

from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.columns import DAY, MINUTE, SECOND
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.streams import Bits, Bools, Floats, Ints, Streams

NEVER = np.int64(2**62)

RATE_SHAPE, RATE_SCALE_DAYS = 1.0, 15.0
"""Purchases a day are gamma(shape, 1/scale): on average one in 15 days of average business."""
DROPOUT_A, DROPOUT_B = 1.0, 9.0
"""The chance to drop out after a repeat purchase is beta(a, b)."""
SPEND_SHAPE, SPEND_MEAN_SHAPE, SPEND_SCALE = 4, 5.0, 58.0
"""An order's target spend is gamma(shape, rate), and rates are gamma(mean_shape, 1/scale): a mean of 58 euros."""
MOVE_YEARS = 3.0
OPT_IN_SHARE = 0.78
OPT_OUT_YEARS = 6.0
NEVER_BUY_SHARE, LATE_FIRST_SHARE, LATE_FIRST_DAYS = 0.04, 0.08, 21.0
OPENING_WAVE, OPENING_DAYS = 4.0, 60.0
GUESTS_PER_CUSTOMER = 0.3

PERSONAS = ("regular", "bargain_hunter", "mobile_browser", "stock_upper")
PERSONA_SHARES = np.array([0.40, 0.25, 0.20, 0.15])
COUPON_CHANCE = np.array([0.06, 0.55, 0.10, 0.06])
VISITS_PER_DAY = np.array([0.045, 0.095, 0.085, 0.03])
MOBILE_SHARE = np.array([0.30, 0.45, 0.92, 0.15])
BREADTH = np.array([1.0, 0.9, 0.6, 1.8])

STYLES = ("classic", "modern", "playful", "natural", "premium")
TASTE_SPREAD = 1.3
OWN_STYLE_WEIGHT = 6.0

RING_SHARE = 0.012
RING_SIZES = (3, 4, 5, 6)
RING_SHARES_ADDRESS = 0.6
RING_RATE, RING_DROPOUT = 0.10, 0.12
SHARED_HOUSEHOLD = 0.04


class People:
    """Customers, in order of registration, then guests. Arrays have one entry for each person, times in microseconds.

    A guest has no customer number and exactly one order. `rate` is in purchases for a day of average business;
    `spend` is the mean target spend of an order in euros.
    """

    def __init__(self, config: SimulatorConfig, streams: Streams, calendar: Calendar) -> None:
        self._streams = streams
        self.customers = config.customers
        self.guests = int(config.customers * GUESTS_PER_CUSTOMER)
        self.count = self.customers + self.guests
        everyone = np.arange(self.count)
        arrival = streams.uniform("arrival", everyone)
        registered = calendar.drawn(arrival[: self.customers], OPENING_DAYS, OPENING_WAVE)
        guests = calendar.drawn(arrival[self.customers :], OPENING_DAYS, -0.5)
        self.registered_at: Ints = np.concatenate([np.sort(registered), np.sort(guests)])
        self.is_guest: Bools = everyone >= self.customers
        self.ring = _rings(streams, self.customers)

        self.rate: Floats = np.minimum(streams.gamma("rate", RATE_SHAPE, everyone) / RATE_SCALE_DAYS, 1.0)
        self.dropout: Floats = betaincinv(DROPOUT_A, DROPOUT_B, streams.uniform("dropout.chance", everyone))
        in_ring = self.ring >= 0
        self.rate[in_ring] = RING_RATE
        self.dropout[in_ring] = RING_DROPOUT
        self.rate[self.is_guest] = 0.0
        self.spend: Floats = SPEND_SHAPE * SPEND_SCALE / streams.gamma("spend", SPEND_MEAN_SHAPE, everyone)

        self.persona: Ints = np.searchsorted(np.cumsum(PERSONA_SHARES)[:-1], streams.uniform("persona", everyone))
        self.style: Ints = (streams.uniform("style", everyone) * len(STYLES)).astype(np.int64)
        self.first_order_at: Ints = self._first_orders(streams, everyone)
        self.opted_in: Bools = (streams.uniform("opt_in", everyone) < OPT_IN_SHARE) & ~self.is_guest
        wait = streams.exponential("opt_out", everyone) * OPT_OUT_YEARS * 365 * DAY
        self.opted_out_at: Ints = np.where(self.opted_in, self.registered_at + DAY + wait.astype(np.int64), NEVER)
        moves = streams.exponential("move", everyone[:, None], np.arange(2)) * MOVE_YEARS * 365 * DAY
        self.moved_at: Ints = self.registered_at[:, None] + DAY + np.cumsum(moves, axis=1).astype(np.int64)

    def _first_orders(self, streams: Streams, everyone: Ints) -> Ints:
        kind = streams.uniform("first.kind", everyone)
        soon = (streams.uniform("first.soon", everyone) * 18 * MINUTE).astype(np.int64) + 90 * SECOND
        later = (streams.exponential("first.later", everyone) * LATE_FIRST_DAYS * DAY).astype(np.int64)
        wait = np.where(kind < NEVER_BUY_SHARE + LATE_FIRST_SHARE, later, 0)
        wait = np.where(kind < NEVER_BUY_SHARE, NEVER // 2, wait)
        return self.registered_at + soon + np.where(self.is_guest, 0, wait)

    def tastes(self, person: Ints, categories: int) -> Floats:
        """The share of each category in what the persons want: (persons, categories), rows sum to 1."""
        wish = np.exp(TASTE_SPREAD * self._streams.normal("taste", person[:, None], np.arange(categories)))
        shares: Floats = wish / wish.sum(axis=1, keepdims=True)
        return shares

    def moves_before(self, person: Ints, time: Ints) -> Ints:
        """How often each person has moved by `time`."""
        moves: Ints = (self.moved_at[person] <= time[:, None]).sum(axis=1)
        return moves

    def address(self, person: Ints, moves: Ints) -> Bits:
        """64 bits that stand for an address: same bits, same street, city and postal code."""
        return self._streams.bits("address", self._household(person), moves)

    def ip_address(self, person: Ints) -> Bits:
        """64 bits that stand for the internet address of the person's household."""
        return self._streams.bits("ip", self._household(person))

    def _household(self, person: Ints) -> Ints:
        """One person's number for all who share a home: the ring's, or for a few innocents the neighbour's."""
        shares = (self._streams.uniform("household", person) < SHARED_HOUSEHOLD) & (person > 0)
        home = np.where(shares, person - 1, person)
        ring = self.ring[person]
        return np.where(self.ring_shares_address(ring), self.count + ring, home)

    def ring_shares_address(self, ring: Ints) -> Bools:
        """Whether the members of each ring share an address and a network; no for -1, which is no ring."""
        drawn = self._streams.uniform("ring.address", np.maximum(ring, 0))
        return (ring >= 0) & (drawn < RING_SHARES_ADDRESS)

    def card(self, person: Ints, other: Ints) -> Bits:
        """64 bits that stand for a card; `other` is 0 for the first card; a ring pays with the ring's own."""
        ring = self.ring[person]
        owner = np.where(ring >= 0, self.count + ring, person)
        return self._streams.bits("card", owner, np.where(ring >= 0, other % 2, other))

    def device_id(self, person: Ints, device: Ints) -> Bits:
        """64 bits that stand for the browser on one of the person's devices; rings share a desktop."""
        ring = self.ring[person]
        owner = np.where((ring >= 0) & (device == 0), self.count + ring, person)
        return self._streams.bits("device", owner, device)


def _rings(streams: Streams, customers: int) -> Ints:
    """The ring of each person, -1 for none. Members registered close to each other: they follow in number."""
    wanted = max(1, round(customers * RING_SHARE / np.mean(RING_SIZES)))
    ring = np.full(customers + int(customers * GUESTS_PER_CUSTOMER), -1, dtype=np.int64)
    sizes = np.array(RING_SIZES)[(streams.uniform("ring.size", np.arange(wanted)) * len(RING_SIZES)).astype(np.int64)]
    room = customers // wanted
    for number, size in enumerate(sizes):
        spread = 3 * int(size)
        offset = int(streams.uniform("ring.place", number)[0] * max(1, room - spread))
        steps = np.cumsum(1 + (streams.uniform("ring.step", number, np.arange(size)) * 3).astype(np.int64)) - 1
        members = number * room + offset + steps
        ring[members[members < customers]] = number
    return ring
