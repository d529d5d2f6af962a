"""What an action adds to each customer's margin, learned from a campaign whose effect is identified.

An action's effect on the number of orders is linear in a few modifiers, fitted to doubly robust scores; times what an
order of that customer is worth. Noise decides for so plain a form: of 2,400 randomised customers of the simulated shop
the margin itself varies by six times its average effect. Whether an effect is identified is `effect`'s business, which
action a customer gets that of `ml_assets.core.models.campaign_uplift`.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from ml_assets.core.causal.effect import SEED, SMOOTH, crossed_scores, prepared, scored
from ml_assets.core.causal.panel import Campaign, Panel
from ml_assets.core.causal.study import Labels, Matrix, Rows, Vector
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.evaluation.uplift import TWO_SIDED, Policy, mean, policy, qini
from ml_assets.core.models import bg_nbd, gamma_gamma
from ml_assets.core.models.errors import NotEnoughData

FOLDS = 3
FEWEST_REPEAT_CUSTOMERS = 100
INPUTS = ("order_days_count", "tenure_days", "recency_days", "orders_count", "spend_amount")
"""The features that an effect depends on: whether the customer is still one, how used to ordering, and for how much."""
MODIFIERS = ("alive_probability", "log_recency_days", "log_orders_count")
"""What the effect on the number of orders is linear in."""


class Action(BaseModel):
    """A campaign as something that can be done again: what it adds to a customer's margin, and what it costs.

    `average` is its mean effect on the margin before `cost`, both in the shop's currency for a customer. Where
    `is_ranked`, it is known to add more for some than for others: `coefficients` (of a constant and of the modifiers,
    less their `centre`, over their `spread`) are of the extra orders, `covariance` is theirs, and an order is worth
    `margin_rate` of the expected spend. Beyond `lowest` and `highest` nobody was seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    as_of: date
    cost: float
    average: Interval
    is_ranked: bool
    rates: bg_nbd.Parameters
    spend: gamma_gamma.Parameters
    margin_rate: float
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def effects(self, rows: pa.Table) -> Effects:
        """What the action adds for each row of a feature table, with 95 % intervals, net of its cost."""
        if not self.is_ranked:
            one = np.ones(len(rows))
            return Effects(*((value - self.cost) * one for value in self.average))
        found = np.clip(modifiers(rows, self.rates, self.highest), self.lowest, self.highest)
        design = _design((found - self.centre) / self.spread)
        orders = design @ np.array(self.coefficients)
        error = np.sqrt(np.einsum("ij,jk,ik->i", design, np.array(self.covariance), design))
        worth = self.margin_rate * expected_spend(rows, self.spend)
        return Effects(*(worth * (orders + side * TWO_SIDED * error) - self.cost for side in (0, -1, 1)))


class Effects(NamedTuple):
    """Expected margin that is added net of the cost, and its 95 % interval: an entry for each customer."""

    margin: Vector
    low: Vector
    high: Vector


class HeldOut(NamedTuple):
    """How the effects that were predicted for customers did on these very customers, who were held out.

    `by_propensity` is the area of ranking by what a customer would have brought anyway; `predicted` is the mean effect
    that was predicted.
    """

    customers: int
    qini: Interval
    by_propensity: Interval
    predicted: float
    average: Interval
    policy: Policy

    @property
    def is_ranked(self) -> bool:
        """Whether the ranking is shown to be better than chance, and acting on it not to be worse than on all."""
        return self.qini.low > 0 and not self.policy.is_worse


class Learned(NamedTuple):
    """An action and the evidence for it."""

    action: Action
    held_out: HeldOut


class _Data(NamedTuple):
    """A campaign's customers: covariates of the nuisances, treatment, outcomes, and the rows of the feature table."""

    covariates: Matrix
    treated: Labels
    orders: Vector
    margin: Vector
    rows: pa.Table

    def of(self, chosen: Rows) -> _Data:
        """Some of the customers."""
        return _Data(
            covariates=self.covariates[chosen],
            treated=self.treated[chosen],
            orders=self.orders[chosen],
            margin=self.margin[chosen],
            rows=self.rows.take(chosen),
        )


def learn(panel: Panel, cost: float) -> Learned:
    """The action that the campaign of `panel` was; `cost` is for a customer, in the shop's currency.

    The campaign's effect must be identified. The ranking counts only where the half of the customers that was held out
    shows that it is better than chance, and not that it leaves out whom it should not; else all have the average
    effect. Folds in turn would use all customers, and
    call chance a ranking: each fold's scores are in the fits of the others, so that these agree by chance.

    Raises:
        NotEnoughData: too few customers came back, or it is not known what orders cost the shop.
    """
    from sklearn.model_selection import StratifiedKFold

    data = _data(panel)
    halves = StratifiedKFold(2, shuffle=True, random_state=SEED)
    known, held_out = next(halves.split(data.covariates, data.treated))
    gains, anyway = scored(data.covariates, data.treated, data.margin, SMOOTH, known, held_out)
    trial = _fit(panel.campaign, data.of(known), cost=0.0, average=mean(gains), is_ranked=True)
    predicted = trial.effects(data.rows.take(held_out)).margin
    evidence = HeldOut(
        customers=len(gains),
        qini=qini(gains, predicted),
        by_propensity=qini(gains, anyway),
        predicted=float(predicted.mean()),
        average=mean(gains),
        policy=policy(gains, predicted > cost, cost),
    )
    average = mean(crossed_scores(data.covariates, data.treated, data.margin, SMOOTH, FOLDS))
    action = _fit(panel.campaign, data, cost=cost, average=average, is_ranked=evidence.is_ranked)
    return Learned(action, evidence)


def modifiers(rows: pa.Table, rates: bg_nbd.Parameters, longest: tuple[float, ...] | None = None) -> Matrix:
    """The modifiers of each row of a feature table, in the order of `MODIFIERS`.

    Who never ordered is silent for as long as the `longest` silent customer that was seen, or of these rows.
    """
    days, recency, orders = (_numbers(rows, name) for name in ("order_days_count", "recency_days", "orders_count"))
    ordered = days > 0
    alive = np.zeros(len(rows))
    alive[ordered] = bg_nbd.alive_probability(rates, bg_nbd.histories(rows.filter(pa.array(ordered))))
    silence = np.log1p(recency)
    most = longest[MODIFIERS.index("log_recency_days")] if longest else np.nanmax(silence)
    return np.column_stack([alive, np.where(np.isnan(silence), most, silence), np.log1p(np.nan_to_num(orders))])


def expected_spend(rows: pa.Table, spend: gamma_gamma.Parameters) -> Vector:
    """What an order day of each customer is expected to come to, in the shop's currency."""
    days, spent = np.nan_to_num(_numbers(rows, "order_days_count")), np.nan_to_num(_numbers(rows, "spend_amount"))
    counted = np.where(spent > 0, days, 0.0)
    return gamma_gamma.expected_spend(spend, counted, spent / np.maximum(counted, 1.0))


def _data(panel: Panel) -> _Data:
    rows = panel.rows
    days = _numbers(rows, "order_days_count")
    back = int((days > 1).sum())
    if back < FEWEST_REPEAT_CUSTOMERS:
        raise NotEnoughData(f"{back} of its customers came back, and {FEWEST_REPEAT_CUSTOMERS} are needed")
    margin, costed = _numbers(rows, "margin_after"), _numbers(rows, "costed_after")
    if costed.sum() <= 0:
        raise NotEnoughData("it is not known what anything that was ordered costs the shop")
    margin += (panel.outcome - costed) * margin.sum() / costed.sum()
    return _Data(prepared(panel.confounders), panel.treated, _numbers(rows, "orders_after"), margin, rows)


def _fit(campaign: Campaign, data: _Data, *, cost: float, average: Interval, is_ranked: bool) -> Action:
    """The campaign as an action, with the effects that `data` show."""
    days, spent = _numbers(data.rows, "order_days_count"), np.nan_to_num(_numbers(data.rows, "spend_amount"))
    rates = bg_nbd.fit(bg_nbd.histories(data.rows.filter(pa.array(days > 0))))
    pays = spent > 0
    try:
        spend = gamma_gamma.fit(days[pays], spent[pays] / days[pays])
    except gamma_gamma.NoMeanSpend as reason:
        raise NotEnoughData(f"what an order is worth cannot be expected: {reason}") from None
    treated = data.treated == 1
    ordered = float((data.orders * expected_spend(data.rows, spend))[treated].sum())
    if ordered <= 0:
        raise NotEnoughData("none of those who got it ordered")
    found = modifiers(data.rows, rates)
    centre, spread = found.mean(axis=0), np.where(found.std(axis=0) > 0, found.std(axis=0), 1.0)
    design = _design((found - centre) / spread)
    coefficients, covariance = _least_squares(
        design, crossed_scores(data.covariates, data.treated, data.orders, SMOOTH, FOLDS)
    )
    return Action(
        name=campaign.campaign_id,
        as_of=campaign.as_of,
        cost=cost,
        average=average,
        is_ranked=is_ranked,
        rates=rates,
        spend=spend,
        margin_rate=float(data.margin[treated].sum()) / ordered,
        lowest=tuple(found.min(axis=0).tolist()),
        highest=tuple(found.max(axis=0).tolist()),
        centre=tuple(centre.tolist()),
        spread=tuple(spread.tolist()),
        coefficients=tuple(coefficients.tolist()),
        covariance=tuple(tuple(line) for line in covariance.tolist()),
    )


def _least_squares(design: Matrix, scores: Vector) -> tuple[Vector, Matrix]:
    """Coefficients and their covariance whatever the scores' variances (White 1980, HC1)."""
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ scores
    left = scores - design @ coefficients
    rows, columns = design.shape
    covariance = inverse @ (design.T * left**2) @ design @ inverse * rows / (rows - columns)
    return coefficients, covariance


def _design(standard: Matrix) -> Matrix:
    return np.column_stack([np.ones(len(standard)), standard])


def _numbers(rows: pa.Table, name: str) -> Vector:
    """A column as a copy of its numbers, NaN for null."""
    values: Vector = np.array(rows[name].cast(pa.float64()).to_numpy())
    return values
