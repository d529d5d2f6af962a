"""The goods: categories, products, their list prices over time, their promotions, and how wanted each is on each day.

Demand for a product is its popularity times its category's season times the response to its price: `(price / base
price) ** elasticity`, and a display effect while it is promoted. Who found a product out of stock looks elsewhere for
some weeks. Which product an order takes is drawn in `orders`; the datasets `products` and `inventory` are made in
`goods`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.people import OWN_STYLE_WEIGHT, STYLES, People
from ecom_assets.simulator.streams import Bools, Floats, Ints, Streams

Shares = npt.NDArray[Any]
"""Doubles, or floats where the halved memory counts."""


@dataclass(frozen=True)
class Category:
    """A category: price elasticity, typical price (euros), how strong its season is, and the day of the year it peaks.

    `display_lift` is the factor on demand that a promotion has beside its lower price; `share` is its part of demand.
    """

    name: str
    noun: tuple[str, ...]
    elasticity: float
    typical_price: float
    season: float
    peak_day: int
    display_lift: float
    share: float


CATEGORIES = (
    Category("coffee", ("Espresso", "Filter Roast", "Cold Brew", "Decaf"), -1.4, 10.0, 0.10, 345, 1.20, 1.4),
    Category("tea", ("Green Tea", "Black Tea", "Herbal Tea", "Chai"), -1.2, 7.0, 0.25, 20, 1.15, 1.0),
    Category("chocolate", ("Dark Bar", "Truffles", "Pralines", "Drinking Chocolate"), -2.2, 6.0, 0.35, 350, 1.35, 1.3),
    Category("kitchen", ("Mug", "Teapot", "Carafe", "Grinder"), -1.8, 14.0, 0.15, 340, 1.25, 0.8),
    Category("textiles", ("Tea Towel", "Apron", "Cushion", "Throw"), -1.6, 11.0, 0.20, 320, 1.20, 0.7),
    Category("candles", ("Candle", "Diffuser", "Tealights", "Incense"), -2.6, 9.0, 0.40, 340, 1.40, 0.9),
    Category("stationery", ("Notebook", "Pen Set", "Planner", "Cards"), -2.0, 8.0, 0.25, 235, 1.20, 0.8),
    Category("garden", ("Seeds", "Planter", "Watering Can", "Bird Feeder"), -1.5, 10.0, 0.55, 120, 1.20, 0.8),
    Category("bath", ("Soap", "Bath Salts", "Body Lotion", "Shampoo Bar"), -1.7, 7.5, 0.10, 10, 1.25, 1.1),
    Category("toys", ("Puzzle", "Wooden Train", "Plush", "Board Game"), -2.8, 12.0, 0.45, 348, 1.35, 0.7),
)
PER_SEGMENT = 6
SEGMENTS = len(CATEGORIES) * len(STYLES)
PRODUCTS = SEGMENTS * PER_SEGMENT
"""Products are numbered by category, then style, then place in the segment (a category in a style)."""

BRANDS = {
    "classic": ("Hartwell", "Old Mill"),
    "modern": ("Nordlys", "Plain & Co"),
    "playful": ("Pomelo", "Zigzag"),
    "natural": ("Fern House", "Rill"),
    "premium": ("Maison Orle", "Aurum"),
}
LATE_LAUNCH_SHARE, DISCONTINUED_SHARE = 0.20, 0.06
PRICE_STEP, PRICE_FOLLOWS_SEASON = 0.11, 0.5
PROMOTION_PCT = (10, 15, 20, 25, 30)
STOCK_OUT_CHANCE = 0.006
AFTER_STOCK_OUT_FACTOR, AFTER_STOCK_OUT_WEEKS = 0.70, 4
"""Demand for a product in the weeks after a spell out of stock, as a factor, and for how many weeks."""
COST_SHARE = (0.42, 0.68)


class Catalog:
    """Every product, and what holds of it on each day. Days count from the shop's start; money is in cents."""

    def __init__(self, streams: Streams, calendar: Calendar) -> None:
        self._streams, self._calendar = streams, calendar
        product = np.arange(PRODUCTS)
        self.segment: Ints = product // PER_SEGMENT
        self.category: Ints = self.segment // len(STYLES)
        self.style: Ints = self.segment % len(STYLES)
        self.elasticity: Floats = np.array([c.elasticity for c in CATEGORIES])[self.category]
        self.display_lift: Floats = np.array([c.display_lift for c in CATEGORIES])[self.category]
        rank = product % PER_SEGMENT + 1
        noise = np.exp(0.35 * streams.normal("product.popularity", product))
        share = np.array([c.share for c in CATEGORIES])[self.category]
        self.popularity: Floats = noise * share / rank**0.7
        self.popularity /= self.popularity.sum()
        typical = np.array([c.typical_price for c in CATEGORIES])[self.category] * np.where(self.style == 4, 1.4, 1.0)
        self.base_cents: Ints = _shelf_price(100 * typical * np.exp(0.35 * streams.normal("product.price", product)))
        low, high = COST_SHARE
        self.cost_cents: Ints = np.rint(
            self.base_cents * (low + (high - low) * streams.uniform("product.cost", product))
        ).astype(np.int64)
        self.launch_day, self.discontinued_day = self._life(product)
        self.price_period: Ints = 56 + (streams.uniform("price.period", product) * 63).astype(np.int64)
        self.price_offset: Ints = (streams.uniform("price.offset", product) * 70).astype(np.int64) + 14
        partner = np.argsort(streams.uniform("product.partner", product))
        self.partner: Ints = np.roll(partner, 1)[np.argsort(partner)]
        phase = 2 * np.pi / 365.25 * (calendar.day_of_year[:, None] - np.array([c.peak_day for c in CATEGORIES]))
        self.season: Floats = 1 + np.array([c.season for c in CATEGORIES]) * np.cos(phase)
        """(days, categories)"""

    def _life(self, product: Ints) -> tuple[Ints, Ints]:
        """First day on sale and first day no longer; Mondays, or the shop's first day and the day after its last."""
        days = self._calendar.days
        monday = (-self._calendar.weekday[0]) % 7

        def next_monday(day: Floats) -> Ints:
            weeks = (np.maximum(day.astype(np.int64) - monday, 0) + 6) // 7
            whole: Ints = weeks * 7 + monday
            return whole

        late = self._streams.uniform("product.late", product) < LATE_LAUNCH_SHARE
        launch = np.where(late, next_monday(self._streams.uniform("product.launch", product) * days * 0.85), 0)
        gone = self._streams.uniform("product.gone", product) < DISCONTINUED_SHARE
        left = next_monday(launch + 60 + self._streams.uniform("product.left", product) * days)
        launch = np.minimum(launch, days)
        return launch, np.where(gone & (left < days), np.maximum(left, launch + 1), days)

    def price_version(self, day: Ints, product: Ints) -> Ints:
        """The number of list price changes of each product since its launch, up to each day."""
        since = day - self.launch_day[product] - self.price_offset[product]
        version: Ints = np.maximum(since // self.price_period[product] + 1, 0)
        return version

    def price_day(self, version: Ints, product: Ints) -> Ints:
        """The day on which a version of the list price (from 1) begins."""
        return self.launch_day[product] + self.price_offset[product] + (version - 1) * self.price_period[product]

    def list_price(self, version: Ints, product: Ints) -> Ints:
        """The list price in cents in a version. Prices follow the season: without it, demand seems less elastic."""
        began = np.clip(self.price_day(version, product), 0, self._calendar.days - 1)
        season = self.season[began, self.category[product]]
        step = np.exp(PRICE_STEP * self._streams.normal("price.step", product, version))
        cents = _shelf_price(self.base_cents[product] * step * season**PRICE_FOLLOWS_SEASON)
        return np.where(version == 0, self.base_cents[product], cents)

    def market(self, first: int, last: int) -> Market:
        """What holds on the days `[first, last)`."""
        day = np.arange(first, max(last, first + 1))
        product = np.arange(PRODUCTS)
        cents = self.list_price(self.price_version(day[:, None], product), product)
        promotion = self.promotion_pct(day)
        relative = cents / self.base_cents * (1 - promotion / 100)
        response = relative**self.elasticity * np.where(promotion > 0, self.display_lift, 1.0)
        response = np.where(self.after_stock_out(day), AFTER_STOCK_OUT_FACTOR, 1.0) * response
        on_sale = self.on_sale(day) & ~self.out_of_stock(day)
        interest = self.popularity * self.season[day][:, self.category] * on_sale
        return Market(first, cents, promotion, interest * response, response)

    def on_sale(self, day: Ints) -> Bools:
        """Whether each product is in the shop on each day: (days, products)."""
        return (self.launch_day <= day[:, None]) & (day[:, None] < self.discontinued_day)

    def promotion_pct(self, day: Ints) -> Ints:
        """The discount in percent on each product on each day: (days, products).

        A week's promotions go rather to slow movers and out of season: what the discount does is confounded by both,
        and both can be observed.
        """
        product = np.arange(PRODUCTS)
        week = self._week(day)
        rank = product % PER_SEGMENT / (PER_SEGMENT - 1)
        season = self.season[np.clip(week * 7, 0, self._calendar.days - 1)][:, self.category]
        chance = 0.03 + 0.05 * rank + 0.10 * np.maximum(1 - season, 0)
        drawn = self._streams.uniform("promotion", week[:, None], product) < chance
        size = self._streams.uniform("promotion.pct", week[:, None], product) * len(PROMOTION_PCT)
        pct = np.where(drawn, np.array(PROMOTION_PCT)[size.astype(np.int64)], 0)
        for number, sale in enumerate(self._calendar.promotions):
            span = self._calendar.days_of(sale)
            during = (day >= span.start) & (day < span.stop)
            included = sale.every_category | (self.category % 2 == number % 2)
            pct = np.maximum(pct, np.where(during[:, None] & included, sale.discount_pct, 0))
        return pct

    def out_of_stock(self, day: Ints) -> Bools:
        """Whether each product cannot be had on each day, its stock withdrawn and its supply broken: (days, products).

        A spell begins on any day of a week and ends with that week, or with the one after it.
        """
        product = np.arange(PRODUCTS)
        week, weekday = self._week(day), self._calendar.weekday[day]
        gone = np.zeros((len(day), PRODUCTS), dtype=bool)
        for earlier in (0, 1):
            number = week[:, None] - earlier
            starts = self._streams.uniform("stock_out", number, product) < STOCK_OUT_CHANCE
            shape = self._streams.uniform("stock_out.shape", number, product)
            begun = weekday[:, None] >= 1 + (shape * 997 % 1 * 5).astype(np.int64)
            gone |= starts & (begun if earlier == 0 else shape < 0.5) & (number >= 0)
        return gone

    def after_stock_out(self, day: Ints) -> Bools:
        """Whether a spell out of stock ended in the weeks before each day, or goes on: (days, products).

        A week that a spell touches ends with it: each spell lasts to the end of its last week.
        """
        first, last = int(self._week(day).min()), int(self._week(day).max())
        week = np.arange(first - AFTER_STOCK_OUT_WEEKS, last)
        sunday = week * 7 + 6 - self._calendar.weekday[0]
        inside = sunday >= 0
        missed = np.zeros((len(week), PRODUCTS), dtype=bool)
        missed[inside] = self.out_of_stock(sunday[inside]) & self.on_sale(sunday[inside])
        earlier = np.cumsum(np.vstack([np.zeros((1, PRODUCTS), dtype=np.int64), missed]), axis=0)
        place = self._week(day) - first
        return earlier[place + AFTER_STOCK_OUT_WEEKS] > earlier[place]

    def _week(self, day: Ints) -> Ints:
        """The number of the week, from Monday, that each day is in; the shop's first day is in week 0."""
        week: Ints = (day + self._calendar.weekday[0]) // 7
        return week

    def segment_preference(self, people: People, person: Ints) -> Shares:
        """How much each person wants each segment, at base prices and out of season: (persons, segments)."""
        styles = np.where(np.eye(len(STYLES), dtype=bool), np.float32(OWN_STYLE_WEIGHT), np.float32(1))[
            people.style[person]
        ]
        tastes = people.tastes(person, len(CATEGORIES)).astype(np.float32)
        return (tastes[:, :, None] * styles[:, None, :]).reshape(len(person), SEGMENTS)


@dataclass(frozen=True)
class Market:
    """Prices (cents), promotions (percent) and demand weights for the days from `first`: (days, products)."""

    first: int
    price_cents: Ints
    promotion_pct: Ints
    weight: Floats
    response: Floats

    def segment_weight(self) -> Floats:
        """The demand weight of each segment: (days, segments)."""
        weight: Floats = self.weight.reshape(len(self.weight), SEGMENTS, PER_SEGMENT).sum(axis=2)
        return weight

    def choose(self, day: Ints, segment: Ints, uniform: Floats) -> Ints:
        """A product of `segment` for each entry, drawn by its weight on `day` (counted from the shop's start)."""
        running = np.cumsum(self.weight.reshape(len(self.weight) * SEGMENTS, PER_SEGMENT), axis=1)
        return segment * PER_SEGMENT + place_below(running, (day - self.first) * SEGMENTS + segment, uniform)


def draw_segments(weights: Shares, uniform: Floats) -> Ints:
    """A segment for each row of `weights` (rows, segments), drawn in proportion."""
    return place_below(np.cumsum(weights, axis=1), np.arange(len(weights)), uniform)


def place_below(running: Shares, row: Ints, uniform: Floats) -> Ints:
    """For each draw the first place whose running sum, in the draw's row, exceeds that part of the row's total."""
    goal = uniform.astype(running.dtype) * running[row, -1]
    place: Ints = (running[row] < goal[:, None]).sum(axis=1)
    last: Ints = np.minimum(place, running.shape[1] - 1)
    return last


def _shelf_price(cents: Floats) -> Ints:
    """The nearest price that ends in nine cents."""
    shelf: Ints = np.maximum(np.rint(cents / 10) * 10 - 1, 99).astype(np.int64)
    return shelf
