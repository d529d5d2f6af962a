"""The questions about customers that Cartograph ships, asked of a simulated shop whose effects are known."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

import duckdb
import pytest

from ml_assets.components.causal_question import nuisances_of
from ml_assets.core.causal.assess import assess
from ml_assets.core.causal.finding import Finding
from ml_assets.core.questions.customers import features_at, pose
from ml_assets.core.questions.form import CustomerQuestion, read_question
from ml_assets.core.questions.posed import Data, unsound
from tests.model import simulated as marts_of
from tests.model.test_uplift_quality import CAMPAIGNS

END = date(2026, 1, 1)
FOLDER = Path(__file__).parents[2] / "questions"
TRUTHS = {
    "email_winback_spend": "SELECT ate_spend FROM truth_campaigns WHERE campaign_id = 'email_winback'",
    "email_spring_spend": "SELECT ate_spend FROM truth_campaigns WHERE campaign_id = 'email_spring'",
    # The lifts of orders and of the spend in each, of what those without it spend in the window.
    "free_shipping_spend": """
        SELECT ((1 + any_value(order_lift)) * (1 + any_value(spend_lift)) - 1) * avg(panel.outcome)
        FROM panel, truth_experiments WHERE experiment_id = 'free_shipping_threshold' AND panel.treatment = 0""",
    # The lift of each one's own rate, of those who have not left by then.
    "loyalty_gold": """
        SELECT avg(60 * purchase_rate * order_lift * CAST(dropped_at IS NULL OR dropped_at > asked_at AS INT))
        FROM panel JOIN truth_customers USING (customer_id), truth_loyalty_effects WHERE loyalty_tier = 'gold'""",
}
REFUSED = {"email_vip_spend": "back_door", "email_newsletter_spend": "overlap"}


@pytest.fixture(scope="module")
def shop():
    """The questions by name, and a way to ask them: the posed question and what was found."""
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET TimeZone = 'UTC'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marts_of, "DATASETS", (*marts_of.DATASETS, "experiment_assignments"))
        made = marts_of.simulated_marts(con, customers=5000, end=END)
    chosen = ("dim_customers", "dim_products", "fct_orders", "fct_order_items", "fct_refunds")
    marts = {name: made[name] for name in chosen} | CAMPAIGNS
    marts["fct_experiment_assignments"] = "SELECT * FROM experiment_assignments"
    files = [read_question(path) for path in sorted(FOLDER.glob("*.yaml"))]
    questions = {one.name: one for one in files if isinstance(one, CustomerQuestion)}
    data = Data(con, marts, con.cursor, END, "EUR", "SELECT * FROM known")
    con.register("known", features_at(data, questions.values()))

    @cache
    def ask(name: str) -> Finding:
        posed = pose(data, questions[name])
        assert unsound(posed) == []
        con.register("panel", posed.rows)
        found = assess(posed.study, posed.design, nuisances_of(questions[name]))
        truth = con.execute(TRUTHS[name]).fetchone()[0] if name in TRUTHS else None
        return found, truth

    return questions, ask


def test_every_shipped_question_about_customers_is_looked_at_here(shop):
    questions, _ = shop
    assert set(questions) == {*TRUTHS, *REFUSED, "email_winback_conversion"}


@pytest.mark.parametrize("name", sorted(TRUTHS))
def test_what_can_be_told_is_told_with_an_interval_that_holds_the_planted_effect(shop, name):
    found, truth = shop[1](name)
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert found.effect.holds(truth)


def test_conversion_is_found_too_and_is_a_share(shop):
    found, _ = shop[1]("email_winback_conversion")
    assert found.identified, [gate for gate in found.gates if not gate.passed]
    assert 0.05 < found.effect.low < found.effect.high < 0.25


@pytest.mark.parametrize(("name", "gate"), sorted(REFUSED.items()))
def test_what_cannot_be_told_is_refused_and_by_the_right_test(shop, name, gate):
    found, _ = shop[1](name)
    assert not found.identified
    assert not found.gate(gate).passed
