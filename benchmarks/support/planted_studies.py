"""Causal studies whose truth is known, drawn directly: what `benchmarks/causal.py` measures the estimators by.

Each draw makes customers with skewed, correlated covariates, some of them null, a treatment chosen in its own way, and
spend that is mostly nothing and else skewed. A draw whose truth is None must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.support.planted_products import PRODUCT_STUDIES, PlantedProducts
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.study import Covariates, Design, Study, Vector

ROWS = 2_500
EFFECT = 12.0
NAMES = ("recency_days", "orders_count", "spend_365d_amount", "visits_30d", "tenure_days", "opens_share")
SHIPPING_DAYS, SHIPPING_ORDERS, SHIPPING_SPEND = 60, 0.06, 0.08
"""The window of free shipping, and the extra shares of orders and of spend in each, as in the simulated shop."""
TIER_LIFT = 0.5
"""The extra share of orders that a tier brings: more than in the shop, as 400 seeds could not tell 3 % of that."""
LARGE = 400_000
"""Rows of the one draw that a truth is taken from where it has no formula."""


class Planted(NamedTuple):
    """A study, how it is asked, and the effect of each level; None where it must be refused."""

    study: Study
    design: Design
    truth: tuple[float, ...] | None


class Customers(NamedTuple):
    """Standard normal traits behind the covariates, and these as they are recorded."""

    traits: Vector
    covariates: Covariates


Draw = Callable[[int], Planted | PlantedProducts]


def customers(draw: np.random.Generator, rows: int = ROWS) -> Customers:
    """Customers with one factor behind all that is recorded of them."""
    shared = draw.normal(size=(rows, 1))
    traits = 0.5 * shared + np.sqrt(0.75) * draw.normal(size=(rows, len(NAMES)))
    recency, orders, spend, visits, tenure, opens = traits.T
    counts = draw.poisson(np.exp(0.9 + 0.5 * orders))
    columns = [
        np.exp(3.4 - 0.8 * recency),
        counts,
        counts * np.exp(3.5 + 0.4 * spend),
        draw.poisson(np.exp(0.8 + 0.6 * visits)),
        np.exp(5.5 + 0.5 * tenure),
        np.where(draw.random(rows) < 0.08, np.nan, 1 / (1 + np.exp(-opens))),
    ]
    return Customers(traits, Covariates(NAMES, np.column_stack(columns).astype(np.float64)))


def known(found: Customers) -> Vector:
    """An index of what is recorded, about standard: what choices and spend go by."""
    recency, orders, _, visits, _, _ = found.covariates.values.T
    return (3.4 - np.log(recency)) / 0.8 * 0.5 + 0.5 * (np.log1p(orders) - 1.1) / 0.55 + 0.4 * (np.sqrt(visits) - 1.5)


def spend(draw: np.random.Generator, mean: Vector) -> Vector:
    """What customers spend: nothing or an order or two, of `mean` on average."""
    orders = draw.poisson(np.maximum(mean, 0.5) / 40)
    return np.where(orders > 0, draw.gamma(np.maximum(3.0 * orders, 1e-9), 40 / 3), 0.0)


def chosen(draw: np.random.Generator, log_odds: Vector) -> Vector:
    """Who is treated."""
    return (draw.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)


def baseline(index: Vector) -> Vector:
    """What is spent without a treatment: more by those who are still there, in a curve."""
    return 22 + 14 * np.tanh(0.8 * index) + 3 * np.maximum(index, 0)


def email_randomised(seed: int) -> Planted:
    """An e-mail to a random half, whose effect differs by a trait."""
    draw = np.random.default_rng([1, seed])
    found = customers(draw)
    index = known(found)
    treated = (draw.random(ROWS) < 0.5).astype(np.float64)
    return Planted(
        _study(draw, found, treated, baseline(index) + EFFECT * (1 + 0.3 * found.traits[:, 0]) * treated, index),
        Design(is_randomised=True),
        (EFFECT,),
    )


def email_observed(seed: int) -> Planted:
    """An e-mail to those who have been back lately, as recorded."""
    draw = np.random.default_rng([2, seed])
    found = customers(draw)
    index = known(found)
    treated = chosen(draw, 0.9 * index)
    effects = EFFECT * (1 + 0.3 * found.traits[:, 0])
    return Planted(_study(draw, found, treated, baseline(index) + effects * treated, index), Design(), (EFFECT,))


def email_unobserved(seed: int) -> Planted:
    """An e-mail to those of whom somebody had a hunch: undeclared, it shows in what they had spent before."""
    draw = np.random.default_rng([3, seed])
    found, hunch = customers(draw), draw.normal(size=ROWS)
    index = known(found)
    treated = chosen(draw, 0.5 * index + 1.2 * hunch)
    study = _study(draw, found, treated, baseline(index) + 12 * hunch + EFFECT * treated, index + 0.8 * hunch)
    return Planted(study, Design(), None)


def email_declared(seed: int) -> Planted:
    """The same without a record of what had been spent before: the hunch is a latent node of the graph."""
    study, design, truth = email_unobserved(seed)
    edges = [(name, node) for name in (*NAMES, "hunch") for node in ("email", "spend")]
    graph = Graph((*edges, ("email", "spend")), "email", "spend", latent=("hunch",))
    return Planted(replace(study, placebo_outcomes={}), Design(kind=design.kind, graph=graph), truth)


def email_without_overlap(seed: int) -> Planted:
    """An e-mail to everybody who had been back lately, and nearly nobody else."""
    draw = np.random.default_rng([5, seed])
    found = customers(draw)
    index = known(found)
    treated = chosen(draw, np.where(index > 0, 6.0, -6.0))
    return Planted(_study(draw, found, treated, baseline(index) + EFFECT * treated, index), Design(), None)


def coupon_levels(seed: int) -> Planted:
    """No coupon, one of 5 % or one of 10 %, chosen by what is recorded."""
    draw = np.random.default_rng([6, seed])
    found = customers(draw, 2 * ROWS)
    index = known(found)
    odds = np.exp(np.column_stack([np.zeros(len(index)), 0.5 * index, 0.8 * index - 0.2]))
    level = (draw.random(len(index))[:, None] > np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    effect = np.array([0.0, EFFECT, 1.5 * EFFECT])[level] * (1 + 0.2 * found.traits[:, 1])
    study = _study(draw, found, level.astype(np.float64), baseline(index) + effect, index)
    levels = ("no coupon", "5 %", "10 %")
    return Planted(
        Study(
            study.treatment, study.outcome, study.confounders, placebo_outcomes=study.placebo_outcomes, levels=levels
        ),
        Design(kind="discrete"),
        (EFFECT, 1.5 * EFFECT),
    )


def club_on_the_treated(seed: int) -> Planted:
    """A club that a fifth of the customers joined, of whom it makes more than it would of the others."""
    draw = np.random.default_rng([7, seed])
    found = customers(draw, 2 * ROWS)
    study, _ = _club(draw, found)
    return Planted(study, Design(estimand="ATT"), (_club_truth(),))


def free_shipping(seed: int) -> Planted:
    """Free shipping from less, for half of the customers by lot: more orders, and more in each."""
    draw = np.random.default_rng([8, seed])
    rate = draw.gamma(1.5, 1 / 60, 2 * ROWS)
    tenure = draw.uniform(30, 500, len(rate))
    orders, recent = draw.poisson(rate * tenure), draw.poisson(rate * 30)
    treated = (draw.random(len(rate)) < 0.5).astype(np.float64)
    placed = draw.poisson(rate * SHIPPING_DAYS * (1 + SHIPPING_ORDERS * treated))
    came = np.where(placed > 0, draw.gamma(np.maximum(3.0 * placed, 1e-9), 45 / 3), 0.0)
    came *= 1 + SHIPPING_SPEND * treated
    columns = np.column_stack([orders, recent, tenure]).astype(np.float64)
    earlier = np.where(recent > 0, draw.gamma(np.maximum(3.0 * recent, 1e-9), 45 / 3), 0.0)
    study = Study(
        treated,
        came,
        Covariates(("orders_count", "orders_30d", "tenure_days"), columns),
        placebo_outcomes={"earlier_spend": earlier},
    )
    mean = 45 * 1.5 / 60 * SHIPPING_DAYS
    return Planted(study, Design(is_randomised=True), (mean * ((1 + SHIPPING_ORDERS) * (1 + SHIPPING_SPEND) - 1),))


def loyalty_tier(seed: int) -> Planted:
    """Who is gold by an order of a year ago that just still counted: `questions/loyalty_gold.yaml`."""
    study, _ = _tier(np.random.default_rng([9, seed]), 60_000)
    return Planted(study, Design(), (_once("tier", lambda: _tier(np.random.default_rng(90), 4_000_000)[1]),))


STUDIES: dict[str, Draw] = {
    "email_randomised": email_randomised,
    "email_observed": email_observed,
    "email_unobserved": email_unobserved,
    "email_declared": email_declared,
    "email_without_overlap": email_without_overlap,
    "coupon_levels": coupon_levels,
    "club_on_the_treated": club_on_the_treated,
    "free_shipping": free_shipping,
    "loyalty_tier": loyalty_tier,
    **PRODUCT_STUDIES,
}


def _study(draw: np.random.Generator, found: Customers, treated: Vector, mean: Vector, index: Vector) -> Study:
    """A study with earlier spend as its negative control."""
    earlier = spend(draw, baseline(index))
    return Study(treated, spend(draw, mean), found.covariates, placebo_outcomes={"earlier_spend": earlier})


def _club(draw: np.random.Generator, found: Customers) -> tuple[Study, float]:
    """The study, and the mean effect on those who joined."""
    index = known(found)
    joined = chosen(draw, 0.8 * index - 1.6)
    effects = EFFECT * (1 + 0.4 * np.tanh(index))
    study = _study(draw, found, joined, baseline(index) + effects * joined, index)
    return study, float(effects[joined == 1].mean())


def _tier(draw: np.random.Generator, rows: int) -> tuple[Study, float]:
    """Customers at the line 30 days after a review, and the mean effect of the tier on the orders of 60 days.

    Orders come at each customer's own rate; gold is 7 orders in the 365 days before the review.
    """
    rate, tenure = draw.gamma(1.5, 1 / 60, rows), draw.uniform(425, 730, rows)
    since, counted, last_month = (draw.poisson(rate * days) for days in (30, 335, 30))
    before = 1 + draw.poisson(rate * (tenure - 395))  # the first order is the day that the tenure counts from
    at_line = (counted >= 5) & (counted <= 6) & (last_month + before >= 3) & (last_month + before <= 12)
    rate, tenure, since, counted, last_month, before = (
        one[at_line] for one in (rate, tenure, since, counted, last_month, before)
    )
    gold = (counted + last_month >= 7).astype(np.float64)
    silence = np.where(
        since > 0, 30 * (1 - draw.random(len(rate)) ** (1 / np.maximum(since, 1))),
        30 + 335 * (1 - draw.random(len(rate)) ** (1 / counted)),
    )  # fmt: skip
    columns = (counted + since, since, since + counted + last_month + before, silence, tenure)
    names = ("orders_365d", "orders_30d", "orders_count", "recency_days", "tenure_days")
    came = draw.poisson(rate * 60 * (1 + TIER_LIFT * gold)).astype(np.float64)
    study = Study(gold, came, Covariates(names, np.column_stack(columns).astype(np.float64)))
    return study, float((rate * 60 * TIER_LIFT).mean())


_TRUTHS: dict[str, float] = {}


def _club_truth() -> float:
    """The mean effect on those who join, by one large draw."""
    draw = np.random.default_rng(70)
    return _once("club", lambda: _club(draw, customers(draw, LARGE))[1])


def _once(name: str, truth: Callable[[], float]) -> float:
    """A truth that takes a large draw, drawn the first time."""
    if name not in _TRUTHS:
        _TRUTHS[name] = truth()
    return _TRUTHS[name]
