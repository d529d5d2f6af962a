"""Causal studies whose truth is known, drawn directly: what `benchmarks/causal.py` measures the estimators by.

Each draw makes customers with skewed, correlated covariates, some of them null, a treatment chosen in its own way, and
spend that is mostly nothing and else skewed. A draw whose truth is None must be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.study import Covariates, Design, Study, Vector

ROWS = 2_500
EFFECT = 12.0
NAMES = ("recency_days", "orders_count", "spend_365d_amount", "visits_30d", "tenure_days", "opens_share")
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


Draw = Callable[[int], Planted]


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


STUDIES: dict[str, Draw] = {
    "email_randomised": email_randomised,
    "email_observed": email_observed,
    "email_unobserved": email_unobserved,
    "email_declared": email_declared,
    "email_without_overlap": email_without_overlap,
    "coupon_levels": coupon_levels,
    "club_on_the_treated": club_on_the_treated,
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


_TRUTHS: list[float] = []


def _club_truth() -> float:
    """The mean effect on those who join, by one large draw."""
    if not _TRUTHS:
        draw = np.random.default_rng(70)
        _TRUTHS.append(_club(draw, customers(draw, LARGE))[1])
    return _TRUTHS[0]
