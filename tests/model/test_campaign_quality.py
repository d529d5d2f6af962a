"""Campaign effects on a shop where they are known: found where they can be, refused where they cannot."""

from __future__ import annotations

from functools import cache

import pytest

from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.finding import Finding
from ml_assets.core.causal.panel import email_campaigns, panel
from ml_assets.core.causal.study import Design
from tests.model.planted import EFFECT, NO_OVERLAP, OBSERVED, RANDOM, SELECTED

DESIGNS = {RANDOM: Design(is_randomised=True)}


@pytest.fixture(scope="module")
def asked(con, marts):
    campaigns = {campaign.campaign_id: campaign for campaign in email_campaigns(con, marts)}

    @cache
    def ask(name: str) -> Finding:
        return assess(panel(con, marts, campaigns[name]).study, DESIGNS.get(name, Design()))

    return ask


@pytest.mark.parametrize("name", [RANDOM, OBSERVED])
def test_a_planted_effect_is_found_with_its_interval(asked, name):
    found = asked(name)
    assert found.identified, found.gates
    assert found.effect.holds(EFFECT)
    assert found.effect.high - found.effect.low < EFFECT


def test_confounding_that_is_recorded_is_removed(asked, con, marts):
    rows = panel(con, marts, next(c for c in email_campaigns(con, marts) if c.campaign_id == OBSERVED))
    naive = rows.outcome[rows.treated == 1].mean() - rows.outcome[rows.treated == 0].mean()
    assert abs(naive - EFFECT) > 8
    assert abs(asked(OBSERVED).effect.ate - EFFECT) < 4


def test_a_campaign_that_left_nobody_to_compare_with_is_refused(asked):
    found = asked(NO_OVERLAP)
    assert not found.identified
    assert not {gate.name: gate.passed for gate in found.gates}["overlap"]


def test_a_choice_by_what_the_features_do_not_hold_is_refused(asked):
    found = asked(SELECTED)
    assert not found.identified
    assert not {gate.name: gate.passed for gate in found.gates}["negative_controls"]
