"""Next best actions on shops whose effects are known: whom they choose, what that is worth, what is never an action."""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pytest

from ml_assets.core.causal.study import Design
from ml_assets.core.causal.uplift import Action
from ml_assets.core.features.customers import feature_table
from ml_assets.core.models import campaign_uplift
from ml_assets.core.models.campaign_uplift import NOTHING, Trained, UpliftModel
from ml_assets.core.models.next_best_actions import CONTRACT, next_best_actions
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.campaign_uplift import judge
from tests.model.planted import END_DAY, OBSERVED, RANDOM, date_of
from tests.model.simulated import simulated_marts

END = date(2026, 1, 1)
MARGIN_RATE = 0.4
"""Of net sales, in the marts of `simulated`."""
CAMPAIGNS = {
    "dim_campaigns": """
        SELECT campaign_id, 'email' AS channel, CAST(150 AS DECIMAL(18, 2)) AS budget_amount FROM truth_campaigns""",
    "fct_events": """
        SELECT campaign_id || customer_id AS event_id, started_at AS occurred_at, started_at AS received_at,
            'email_sent' AS event_type, customer_id, campaign_id, CAST(NULL AS VARCHAR) AS session_key,
            CAST(NULL AS VARCHAR) AS product_id, CAST(NULL AS VARCHAR) AS device, 'email' AS channel
        FROM truth_campaign_effects JOIN truth_campaigns USING (campaign_id) WHERE is_treated""",
}
"""The e-mails that were sent; what else customers did on the site is not made for this test."""


@pytest.fixture(scope="module")
def simulated():
    """A connection with the simulated shop, and its marts."""
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET TimeZone = 'UTC'")
    marts = simulated_marts(con, customers=5000, end=END)
    chosen = ("dim_customers", "dim_products", "fct_orders", "fct_order_items", "fct_refunds")
    return con, {name: marts[name] for name in chosen} | CAMPAIGNS


def train(simulated, **designs: Design) -> Trained:
    return campaign_uplift.train(*simulated, designs, END)


@pytest.fixture(scope="module")
def trained(simulated) -> Trained:
    return train(simulated, email_spring=Design(is_randomised=True))


@pytest.fixture(scope="module")
def spring(trained) -> Action:
    """The randomised campaign's ranking, whether or not so few customers could show that it is one."""
    (found,) = (action for action in trained.model.actions if action.name == "email_spring")
    return found.model_copy(update={"is_ranked": True})


def planted(simulated, campaign: str):
    """The customers who could have got a campaign with what was known then, and what it adds to their margin."""
    con, marts = simulated
    as_of, known = con.execute(
        """
        SELECT CAST(min(started_at) AS DATE), list(customer_id ORDER BY customer_id)
        FROM truth_campaign_effects JOIN truth_campaigns USING (campaign_id) WHERE campaign_id = $id""",
        {"id": campaign},
    ).fetchone()
    con.register("at_start", feature_table(con, {k: v for k, v in marts.items() if k != "dim_campaigns"}, [as_of]))
    rows = con.execute(
        """
        SELECT f.*, t.effect_spend FROM at_start f JOIN truth_campaign_effects t USING (customer_id)
        WHERE t.campaign_id = $id ORDER BY customer_id""",
        {"id": campaign},
    ).to_arrow_table()
    assert len(rows) > 0.98 * len(known)
    return rows, rows["effect_spend"].to_numpy() * MARGIN_RATE


def test_only_campaigns_whose_effect_is_identified_are_actions(trained):
    refused = {one.campaign.campaign_id: one.refusal for one in trained.examined if one.refusal}
    assert {action.name for action in trained.model.actions} == {"email_spring", "email_winback"}
    assert refused == {
        "email_vip": "its effect is not identified: back_door",
        "email_newsletter": "its effect is not identified: overlap",
    }


def test_what_is_declared_as_chosen_by_what_is_not_recorded_is_no_action(simulated):
    hidden = Design(unrecorded=("a hunch",))
    found = train(simulated, email_spring=hidden, email_winback=hidden)
    assert found.model.actions == ()
    assert {check.check_name for check in judge(found) if not check.passed} == {"an_action_is_identified"}


def test_a_randomised_campaign_tells_who_responds(simulated, spring):
    from scipy.stats import spearmanr

    rows, true = planted(simulated, "email_spring")
    effects = spring.effects(rows)
    assert spearmanr(effects.margin, true).statistic > 0.6
    assert spring.average.low < true.mean() < spring.average.high
    assert effects.margin.mean() + spring.cost == pytest.approx(true.mean(), rel=0.35)
    assert np.mean((effects.low + spring.cost <= true) & (true <= effects.high + spring.cost)) > 0.5


def test_its_policy_is_worth_nearly_what_one_who_knows_the_effects_would_earn(simulated, spring):
    rows, true = planted(simulated, "email_spring")
    only = UpliftModel(as_of=END, actions=(spring,))
    net = true - only.actions[0].cost
    sent = np.array(campaign_uplift.choose(only, rows).actions) != NOTHING
    earned, oracle, everybody = (net * sent).mean(), np.maximum(net, 0).mean(), net.mean()
    assert sent.mean() < 0.95
    assert earned > 0.95 * oracle
    assert earned > 0.99 * everybody > 0


def test_it_chooses_better_than_chance_where_a_treatment_is_dear(simulated, spring):
    """With a cost as high as the average effect, treating everybody earns nothing; the ranking has to."""
    rows, true = planted(simulated, "email_spring")
    cost = true.mean()
    margin = spring.effects(rows).margin + spring.cost
    assert ((true - cost) * (margin > cost)).mean() > 0.5 * np.maximum(true - cost, 0).mean()


def test_the_checks_hold_or_warn(trained):
    blocking = {"beats_all_or_none", "effects_add_up", "has_enough_data", "an_action_is_identified"}
    assert {check.check_name for check in judge(trained) if check.passed} >= blocking


def test_a_second_training_gives_the_same_bytes(simulated, trained):
    again = train(simulated, email_spring=Design(is_randomised=True))
    assert again.model.to_bytes() == trained.model.to_bytes()


def test_an_effect_that_is_the_same_for_all_is_not_ranked(con, marts):
    found = campaign_uplift.train(con, marts, {RANDOM: Design(is_randomised=True)}, date_of(END_DAY))
    assert {action.name for action in found.model.actions} >= {RANDOM, OBSERVED}
    for action in found.model.actions:
        assert not action.is_ranked
        assert action.average.low < 12.0 * MARGIN_RATE < action.average.high


def test_customers_get_the_advice_of_the_registered_model(simulated, trained):
    con, marts = simulated
    con.register("latest", feature_table(con, {k: v for k, v in marts.items() if k != "dim_campaigns"}, [END]))
    model = Registered(campaign_uplift.NAME, "2", trained.model.to_bytes(), trained.card)
    found = next_best_actions(con, "FROM latest", model, END)
    assert found.schema == CONTRACT.arrow_schema()
    assert len(found) == 5000
    offered = {action.name for action in trained.model.offered}
    assert {NOTHING} < set(found["next_action"].to_pylist()) <= {NOTHING, *offered}
    refused = con.execute("SELECT count(*) FROM latest WHERE email_opt_in = 0").fetchone()[0]
    assert found["next_action_reason"].to_pylist().count("refused_email") == refused > 0
    assert len(next_best_actions(con, "FROM latest", None, END)) == 0
    with pytest.raises(NoModel, match="materialize models/campaign_uplift"):
        next_best_actions(con, "FROM latest", model._replace(content=b"{}"), END)
