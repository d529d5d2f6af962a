"""Response curves and budgets against what the simulator plants: a small version of `benchmarks/budget.py`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.budget import measured
from benchmarks.support.planted_channels import PlantedChannels, planted_channels
from ml_assets.core.budget.response import Fitted, fit

SEEDS = range(6)


@cache
def shop(seed: int) -> PlantedChannels:
    return planted_channels(seed)


@cache
def fitted(seed: int) -> Fitted:
    return fit(shop(seed).panel)


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_within_ten_points_of_what_each_channel_caused(seed):
    found = {one.channel: one.share.value for one in fitted(seed).responses}
    assert found == pytest.approx(dict(zip(shop(seed).panel.channels, shop(seed).shares, strict=True)), abs=0.10)


def test_intervals_of_returns_cover_the_truth():
    covered = [hit for seed in SEEDS for hit in measured(shop(seed), fitted(seed))["covered"]]
    assert np.mean(covered) >= 0.9


def test_the_budget_earns_95_percent_of_that_of_one_who_knows_the_curves():
    parts = [measured(shop(seed), fitted(seed))["half to one and a half"] for seed in SEEDS]
    assert np.mean(parts) >= 0.95
    assert min(parts) >= 0.9


def test_channels_that_do_nothing_are_not_shown():
    shown = []
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        panel = shop(seed).panel
        organic = fitted(seed).organic
        credited = draw.poisson(organic * np.array([[0.13], [0.04], [0.01], [0.09]])).astype(float)
        nothing = replace(panel, credited=credited, other=draw.poisson(organic * 0.73).astype(float))
        shown.append(fit(nothing).is_shown)
    assert sum(shown) <= 1


def test_a_channel_that_takes_credit_for_what_came_anyway_is_found_out():
    """Clicks of those who would have come by themselves follow the spend on affiliates, and cause nothing."""
    for seed in SEEDS[:3]:
        planted = shop(seed)
        panel, thief = planted.panel, planted.panel.channels.index("affiliate")
        taken = np.round(0.08 * panel.other * panel.spend[thief] / panel.spend[thief].mean())
        credited = panel.credited.copy()
        credited[thief] += taken
        found = fit(replace(panel, credited=credited, other=panel.other - taken)).responses
        returns = [one.return_on_spend for one in found]
        follows = 0.7 * planted.returns[thief] + taken.sum() * panel.revenue_of_order / panel.spend[thief].sum()
        assert follows > 2.5 * planted.returns[thief], "what its credit would say"
        assert all(one.low <= true <= one.high for one, true in zip(returns, planted.returns, strict=True))


def test_without_credit_the_intervals_are_wider_and_still_cover():
    found = [measured(shop(seed), fit(shop(seed).panel.without_credit())) for seed in SEEDS[:3]]
    assert np.mean([hit for one in found for hit in one["covered"]]) >= 0.9
    by_totals = fit(shop(0).panel.without_credit())
    for alone, both in zip(by_totals.responses, fitted(0).responses, strict=True):
        assert alone.share.high - alone.share.low > both.share.high - both.share.low
