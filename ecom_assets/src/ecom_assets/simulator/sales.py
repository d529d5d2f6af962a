"""What is sold of a product if it alone is more or less wanted: what an analyst of the datasets can find at best.

Sales follow how wanted a product is (`catalog`) less than one for one: a product stands in one line of an order only,
and the first line takes some product in any case, so that others lose a part of what one gains.
"""

from __future__ import annotations

import numpy as np

from ecom_assets.simulator import orders, people
from ecom_assets.simulator.catalog import CATEGORIES
from ecom_assets.simulator.streams import Floats, Ints
from ecom_assets.simulator.world import World

SAMPLE = 800
"""Orders looked at, spread over all dates: their error is under 1 % of an effect."""
STEP = 0.1
"""The step of log price over which an elasticity is taken, up and down."""


class Sales:
    """How likely each of a sample of orders has a line of each product, and of how many units."""

    def __init__(self, world: World) -> None:
        catalog = world.catalog
        bones = world.skeleton
        chosen = np.unique(np.linspace(0, len(bones.time) - 1, min(SAMPLE, len(bones.time))).astype(np.int64))
        placed = orders.describe(world, chosen)
        market = catalog.market(0, world.calendar.days)
        usual = catalog.segment_preference(world.people, placed.person).astype(np.float64)
        wanted = usual[:, catalog.segment] * market.weight[placed.day]
        base = usual @ np.bincount(catalog.segment, weights=catalog.popularity)
        breadth = people.BREADTH[world.people.persona[placed.person]]
        mean = np.minimum(orders.LINES_PER_EURO * placed.target * breadth, orders.MOST_LINES / 2)
        wish = 100 * orders.BUDGET_SHARE * (placed.target / (1 + mean))[:, None] / catalog.base_cents
        coupon = np.where(placed.coupon >= 0, orders.COUPON_PCT[placed.coupon], 0)
        self._category = catalog.category
        self._wanted: Floats = wanted
        self._others: Floats = wanted.sum(axis=1, keepdims=True) - wanted
        self._further: Floats = wanted * (mean / base)[:, None]
        is_plain = (market.promotion_pct[placed.day] == 0) & ~placed.is_cancelled[:, None]
        self._units: Floats = np.clip(wish, 1, orders.MOST_UNITS) * is_plain
        self._price: Floats = market.price_cents[placed.day] * (1 - coupon[:, None] / 100)
        self._cost: Floats = catalog.cost_cents.astype(np.float64)

    def elasticity(self, category: int) -> float:
        """That of units sold of a product of `category`, to its price."""
        step = CATEGORIES[category].elasticity * STEP
        more, less = (self.factors(category, float(np.exp(sign * step)), 1.0)[0] for sign in (1, -1))
        return float(np.log(more / less)) / (2 * STEP)

    def factors(self, category: int | None, wanted: float, price: float) -> tuple[float, float]:
        """Factors on units and on margin of a product that is `wanted` times as much, at `price` times its price.

        Against the other products of its category at the same time. Of the products of `category`, or of all, one at a
        time, where they had no promotion.
        """
        numbers = range(len(CATEGORIES)) if category is None else (category,)
        units = np.concatenate([self._against_others(np.flatnonzero(self._category == n), wanted) for n in numbers])
        mine = np.flatnonzero(np.isin(self._category, numbers))
        before = self._units[:, mine] * self._chance(mine, 1.0)
        after = before * units
        usual, now = (self._price[:, mine] * factor - self._cost[mine] for factor in (1.0, price))
        sold, margin = before.sum(), (before * usual).sum()
        return (
            float(after.sum() / sold) if sold > 0 else wanted,
            float((after * now).sum() / margin) if margin > 0 else wanted,
        )

    def _against_others(self, mine: Ints, factor: float) -> Floats:
        """The factor on the units of each product of a category, over that on the others' units."""
        units, usual = self._units[:, mine], self._chance(mine, 1.0)
        sold, own = (units * usual).sum(axis=0), (units * self._chance(mine, factor)).sum(axis=0)
        total = self._others[:, mine] + self._wanted[:, mine]
        none = np.exp(-self._further[:, mine])
        found = np.ones(len(mine))
        for place in range(len(mine)):
            more = total + self._wanted[:, mine[place], None] * (factor - 1)
            others = (units * (1 - (1 - self._wanted[:, mine] / more) * none)).sum(axis=0)
            lost = (others.sum() - others[place]) / max(sold.sum() - sold[place], 1e-300)
            found[place] = own[place] / sold[place] / lost if sold[place] > 0 and lost > 0 else factor
        return found

    def _chance(self, mine: Ints, factor: float) -> Floats:
        """Of a line of the product in each order: the first, or one of the Poisson number of the further ones."""
        wanted, others = self._wanted[:, mine] * factor, self._others[:, mine]
        chance: Floats = 1 - others / (others + wanted) * np.exp(-self._further[:, mine] * factor)
        return chance
