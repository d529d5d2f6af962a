"""Weeks of products whose truth is known, drawn directly: price, discount and stock-out studies of `planted_studies`.

Products have their own level, categories their season, and all a week's luck; what is done goes by the season, by what
kind of product it is and by a recorded rival price, so that the effect as it looks is wrong. Units are orders of one
unit or more: more spread than Poisson.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.continuous.shape import Shape, ShapedStudy
from ml_assets.core.causal.study import Covariates, Design, Labels, Matrix, Vector

PRODUCTS, WEEKS, CATEGORIES = 80, 60, 4
ELASTICITY = -1.8
DISPLAY = 1.25
DEPTHS = np.array([0.10, 0.15, 0.20, 0.25, 0.30])
TOLD_DEPTH = 0.20
COST = 0.35
AFTER = 0.7


class PlantedProducts(NamedTuple):
    """A study, how it is asked, and its effect; None where it must be refused."""

    study: ShapedStudy
    design: Design
    truth: tuple[float, ...] | None


@dataclass(frozen=True)
class Market:
    """Each array is (products, weeks): the logarithm of demand at usual prices, the season, and the rival's price."""

    base: Matrix
    season: Matrix
    rival: Matrix
    slow: Vector
    """How little each product sells: standard normal."""


def market(draw: np.random.Generator) -> Market:
    """Products, seasons and a rival, as a shop has them."""
    category = np.arange(PRODUCTS) % CATEGORIES
    week = np.arange(WEEKS)
    season = 0.5 * np.cos(2 * np.pi * (week / 52 + category[:, None] / CATEGORIES))
    luck = 0.1 * draw.normal(size=(CATEGORIES, WEEKS))[category]
    slow = draw.normal(size=PRODUCTS)
    rival = draw.normal(size=(PRODUCTS, WEEKS))
    base = 2.2 - 0.5 * slow[:, None] + season + luck + 0.004 * week + 0.25 * np.tanh(1.5 * rival)
    return Market(base, season, rival, slow)


def sold(draw: np.random.Generator, log_mean: Matrix) -> Matrix:
    """Units: a Poisson number of orders, of 1 to 4 units each."""
    orders = draw.poisson(np.exp(log_mean) / 2.5)
    return np.where(orders > 0, draw.binomial(3 * orders, 0.5) + orders, 0).astype(np.float64)


def prices(draw: np.random.Generator, found: Market) -> Matrix:
    """The logarithm of price over the usual one: in steps of some weeks, dearer in season and where the rival is."""
    steps = 0.11 * draw.normal(size=(PRODUCTS, WEEKS // 10 + 2))
    offset = draw.integers(0, 10, PRODUCTS)
    version = (np.arange(WEEKS) + offset[:, None]) // 10
    own: Matrix = np.take_along_axis(steps, version, axis=1)
    return own + 0.3 * found.season + 0.06 * np.tanh(found.rival)


def price_elasticity(seed: int) -> PlantedProducts:
    """The elasticity of units to the list price."""
    draw = np.random.default_rng([21, seed])
    found = market(draw)
    price = prices(draw, found)
    units = sold(draw, found.base + ELASTICITY * price)
    return _planted(found, price, units, ELASTICITY, later=_later(price))


def price_of_a_hunch(seed: int) -> PlantedProducts:
    """Prices set by a hunch of how a week will go, declared to be unrecorded: to be refused."""
    draw = np.random.default_rng([22, seed])
    found = market(draw)
    hunch = 0.3 * draw.normal(size=found.base.shape)
    price = prices(draw, found) + 0.2 * hunch
    units = sold(draw, found.base + hunch + ELASTICITY * price)
    return _planted(found, price, units, None, unrecorded=("a buyer's hunch",))


def price_without_variation(seed: int) -> PlantedProducts:
    """Prices that follow the season to the cent: nothing is left of them, to be refused."""
    draw = np.random.default_rng([23, seed])
    found = market(draw)
    price = 0.3 * found.season + 0.0005 * draw.normal(size=found.base.shape) * (draw.random(found.base.shape) < 0.005)
    return _planted(found, price, sold(draw, found.base + ELASTICITY * price), None)


def discount_on_units(seed: int) -> PlantedProducts:
    """The relative change of units by a discount of 20 %, which is shown on the page, too."""
    draw = np.random.default_rng([24, seed])
    found = market(draw)
    depth = _depths(draw, found)
    units = sold(draw, found.base + np.where(depth > 0, np.log(DISPLAY), 0.0) + ELASTICITY * np.log1p(-depth))
    return _planted(found, (depth > 0).astype(np.float64), units, _factor() - 1, depth=depth)


def discount_on_margin(seed: int) -> PlantedProducts:
    """The same of margin, in euros at a usual price of 10."""
    draw = np.random.default_rng([25, seed])
    found = market(draw)
    depth = _depths(draw, found)
    units = sold(draw, found.base + np.where(depth > 0, np.log(DISPLAY), 0.0) + ELASTICITY * np.log1p(-depth))
    truth = _factor() * (1 - TOLD_DEPTH - COST) / (1 - COST) - 1
    margin = units * 10 * (1 - depth - COST)
    return _planted(found, (depth > 0).astype(np.float64), margin, truth, depth=depth, bends=True)


def stock_out(seed: int) -> PlantedProducts:
    """The relative change of units in the four weeks after a spell out of stock, which comes in season."""
    draw = np.random.default_rng([26, seed])
    found = market(draw)
    chance = 0.012 * np.exp(1.5 * found.season - 0.5 * found.slow[:, None])
    out = draw.random(found.base.shape) < chance
    after = np.zeros_like(out)
    for weeks in range(1, 5):
        after[:, weeks:] |= out[:, :-weeks]
    after &= ~out
    units = sold(draw, found.base + np.where(after, np.log(AFTER), 0.0))
    return _planted(found, after.astype(np.float64), units, AFTER - 1, kept=~out)


PRODUCT_STUDIES = {
    "price_elasticity": price_elasticity,
    "price_of_a_hunch": price_of_a_hunch,
    "price_without_variation": price_without_variation,
    "discount_on_units": discount_on_units,
    "discount_on_margin": discount_on_margin,
    "stock_out": stock_out,
}


def _depths(draw: np.random.Generator, found: Market) -> Matrix:
    """The discount of each week: rather on slow movers, out of season, and where the rival is cheap."""
    odds = -2.8 + 0.6 * found.slow[:, None] - 1.2 * found.season - 0.5 * np.tanh(found.rival)
    drawn = draw.random(odds.shape) < 1 / (1 + np.exp(-odds))
    return np.where(drawn, draw.choice(DEPTHS, odds.shape), 0.0)


def _factor() -> float:
    return float(DISPLAY * (1 - TOLD_DEPTH) ** ELASTICITY)


def _later(treatment: Matrix) -> Matrix:
    later = np.full_like(treatment, np.nan)
    later[:, :-4] = treatment[:, 4:]
    return later


def _planted(
    found: Market,
    treatment: Matrix,
    outcome: Matrix,
    truth: float | None,
    *,
    depth: Matrix | None = None,
    later: Matrix | None = None,
    kept: Matrix | None = None,
    bends: bool = False,
    unrecorded: tuple[str, ...] = (),
) -> PlantedProducts:
    rows = np.ones(treatment.size, dtype=bool) if kept is None else kept.ravel()
    product: Labels = np.repeat(np.arange(PRODUCTS), WEEKS)[rows]
    week: Labels = np.tile(np.arange(WEEKS), PRODUCTS)[rows]
    beside = Covariates()
    if depth is not None:
        beyond = np.where(depth > 0, np.log((1 - depth) / (1 - TOLD_DEPTH)), 0.0).ravel()
        columns = {"discount_beyond": beyond} | ({"discount_beyond_squared": beyond**2} if bends else {})
        beside = Covariates(tuple(columns), np.column_stack(list(columns.values())))
    study = ShapedStudy(
        treatment=treatment.ravel()[rows],
        outcome=outcome.ravel()[rows],
        confounders=Covariates(("rival_price",), found.rival.reshape(-1, 1)[rows]),
        clusters=product,
        shape=Shape(
            link="log",
            levels=(product, product % CATEGORIES * WEEKS + week),
            level_names=("product", "category_week"),
            beside=beside,
            later=None if later is None else later.ravel()[rows],
            is_ratio=later is None,
        ),
    )
    return PlantedProducts(study, Design("continuous", unrecorded=unrecorded), None if truth is None else (truth,))
