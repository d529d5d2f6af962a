"""Whom the policies of a release are about: by the SQL of their question's panel, on the day of the release."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest

from cartograph.releases import UnfitRelease
from cartograph.releases.contents.causal import TreatmentPolicy
from ml_assets.core.questions.form import CustomerQuestion, question_of
from ml_assets.defs.serving.populations import asked_about, told_population
from tests.api.test_causal import make_policy

TODAY = date(2026, 1, 1)
FEATURES = """
    FROM (VALUES
        ('C1', DATE '2026-01-01', 1, 3), ('C2', DATE '2026-01-01', 0, 9), ('C3', DATE '2026-01-01', NULL, 0),
        ('C2', DATE '2025-12-01', 1, 9)
    ) t (customer_id, as_of_date, email_opt_in, orders_count)"""


def policy(name: str, population: str | None) -> TreatmentPolicy:
    return make_policy().model_copy(update={"name": name, "population": population})


def asked(name: str, population: str) -> CustomerQuestion:
    content = {
        "description": "What does the e-mail add?",
        "owner": "team:marketing",
        "treatment": {"campaign": name},
        "outcome": {"measure": "net_spend"},
        "population": population,
    }
    question = question_of(name, content)
    assert isinstance(question, CustomerQuestion)
    return question


def about(*policies: TreatmentPolicy) -> dict[str, list[str]]:
    with duckdb.connect() as con:
        found = asked_about(con, FEATURES, TODAY, policies)
    return dict(zip(found["customer_id"].to_pylist(), found["policies"].to_pylist(), strict=True))


def test_each_customer_is_told_by_the_policies_that_are_about_them_that_day() -> None:
    mail = policy("mail", "email_opt_in is distinct from 0 -- refused")
    often = policy("a_often", "orders_count > 1")
    assert about(mail, often) == {"C1": ["a_often", "mail"], "C2": ["a_often"], "C3": ["mail"]}
    assert about(policy("all", "true")) == {"C1": ["all"], "C2": ["all"], "C3": ["all"]}


@pytest.mark.parametrize("population", ["email_opt_in > 5", "email_opt_in = NULL", None])
def test_nobody_is_taken_in_by_a_condition_that_does_not_hold(population: str | None) -> None:
    assert about(policy("mail", population)) == {}


def test_without_policies_there_is_nobody() -> None:
    assert about() == {}


def test_a_policy_keeps_the_population_that_it_was_learned_of_and_an_older_one_takes_its_questions() -> None:
    questions = [asked("other", "true"), asked("mail", "orders_count > 1")]
    assert told_population(policy("mail", "true"), questions).population == "true"
    assert told_population(policy("mail", None), questions).population == "orders_count > 1"
    with pytest.raises(UnfitRelease, match="Materialize causal/mail"):
        told_population(policy("mail", None), [])
