"""Causal questions without Dagster: files that say what is wrong with them, answers, memos and panels of few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ml_assets.core.causal.finding import (
    Balance,
    Estimate,
    Finding,
    Gate,
    GroupEffect,
    Heterogeneity,
    NamedEstimate,
    Propensities,
    Sensitivity,
)
from ml_assets.core.causal.graph import Graph
from ml_assets.core.causal.study import Covariates, Design, Study
from ml_assets.core.documents import html_of, with_pictures
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.questions.answers import Answer, answered, contract, effect_of, policy_of, read_told, row_of
from ml_assets.core.questions.asked import QuestionError
from ml_assets.core.questions.customers import pose
from ml_assets.core.questions.form import CustomerQuestion, question_of
from ml_assets.core.questions.lacking import lacking, told
from ml_assets.core.questions.memo import memo, sentence
from ml_assets.core.questions.pictures import pictures
from ml_assets.core.questions.posed import SHARE, Data, NoAnswer, Posed, unsound
from tests.api.test_causal import make_policy

CONTENT = {
    "description": "What does the e-mail add?",
    "owner": "team:marketing",
    "treatment": {"campaign": "email_winback"},
    "outcome": {"measure": "net_spend", "within_days": 14},
}
SELECT = "select customer_id, ordered_at as happened_at from fct_orders"
EVERY = {"every": "quarter"}
EDGES = ["recency_days -> treatment", "recency_days -> outcome", "treatment -> outcome"]


def asked(**changes: object) -> CustomerQuestion:
    made = question_of("winback", {**CONTENT, **changes})
    assert isinstance(made, CustomerQuestion)
    return made


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"treatmnt": {}}, "treatmnt: there is no such key. Is treatment meant?"),
        ({"name": "x"}, "name: leave it out: a question is called after its file"),
        ({"unit": "customers"}, "unit: 'customers' is none of customer"),
        ({"owner": "me"}, "owner: String should match pattern"),
        ({"treatment": {}}, "treatment: give one of campaign, experiment and select, got none"),
        ({"treatment": {"campaign": "a", "select": SELECT}}, "give one of campaign, experiment and select"),
        ({"treatment": {"campaign": "a", "kind": "continuous"}}, "who was sent a campaign is a yes or no"),
        ({"treatment": {"select": "select * from read_csv('/etc/passwd')"}}, "it calls read_csv(…)"),
        ({"treatment": {"select": "drop table fct_orders"}}, "treatment.select: it must be one SELECT of customer_id"),
        ({"treatment": {"select": SELECT, "kind": "discrete"}}, "a discrete treatment needs its levels"),
        ({"treatment": {"select": SELECT, "lasts": True}}, "what lasts is looked at on given dates"),
        ({"treatment": {"experiment": "a"}, "time": "first"}, "known from their assignment on"),
        ({"treatment": {"select": SELECT}, "time": "never"}, "time.at: Input should be 'first' or 'own'"),
        ({"treatment": {"select": SELECT}, "time": {}}, "it is one of `first`, `own`, dates"),
        ({"time": {"every": "year"}}, "time.every: Input should be 'month' or 'quarter'"),
        ({"outcome": {"within_days": 3}}, "outcome: give one of measure and select"),
        ({"outcome": {"measure": "spend"}}, "outcome.measure: Input should be 'net_spend'"),
        ({"outcome": {"measure": "orders", "within_days": 0}}, "outcome.within_days: Input should be greater"),
        ({"population": "recency > 3"}, "there is no customer feature recency. Is recency_days meant?"),
        ({"confounders": ["recency"]}, "there is no customer feature recency. Is recency_days meant?"),
        ({"negative_controls": ["x"]}, "it is `earlier_outcome`, or another name with a select"),
        ({"graph": {"edges": ["a -> outcome"]}}, "a is neither treatment, outcome, a confounder nor latent"),
        ({"graph": {"edges": ["a causes b"]}}, "'a causes b' is no arrow: write it as `cause -> effect`"),
        ({"graph": {"edges": [*EDGES, "outcome -> recency_days"]}}, "goes in a circle, and no cause follows its"),
        ({"is_randomised": True, "unrecorded": ["a hunch"]}, "leave one out"),
        ({"unrecorded": [" "]}, "an entry is empty"),
        ({"is_randomised": True, "confounders": []}, "chance must be held against some features"),
        (
            {"treatment": {"campaign": "a", "or_largest": True}, "is_randomised": True},
            "what is declared of one campaign's recipients does not hold of another's",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_what_it_takes(changes, says):
    with pytest.raises(QuestionError) as caught:
        asked(**changes)
    assert says in str(caught.value)
    assert ".." not in str(caught.value)


def test_a_question_needs_the_marts_that_it_names_and_a_shop_is_told_which_dataset_it_lacks():
    question = asked(confounders=["visit_days_30d", "recency_days"])
    assert {"fct_events", "dim_campaigns", "fct_order_items"} <= question.needs
    assert lacking(question, {"events", "orders"}) == ["campaigns"]
    assert told(question, ()) == "not asked, as the shop does not deliver campaigns, events"
    assert lacking(asked(treatment={"experiment": "a"}), ()) == ["experiment_assignments"]


def test_the_short_forms_say_when_customers_are_looked_at():
    assert asked().moment.at == "first"
    assert asked(treatment={"experiment": "a"}).moment.at == "own"
    assert asked(treatment={"select": SELECT}, time=EVERY).moment.every == "quarter"


# Answers and memos


GATES = (Gate("back_door", True, 0.7, "as declared"), Gate("agreement", True, 0.0, "12.3 [1, 2] and 12.4"))


def found(*gates: Gate) -> Finding:
    names = ("doubly robust", "double machine learning")
    return Finding(
        naive=Estimate(-4.0, -6.0, -2.0),
        estimates=tuple(NamedEstimate(name, "1 against 0", Estimate(12.3, 8.1, 16.5)) for name in names),
        gates=(*GATES, *gates),
        treated=300,
        control=700,
        trimmed_share=0.02,
        balance=(Balance("recency_days", 0.4, 0.02),),
        propensity=Propensities((0.0, 0.5, 1.0), ("0", "1"), ((500, 200), (100, 200))),
        sensitivity=Sensitivity(0.2, 0.1, "recency_days", 0.03, 0.05, (6.0, 18.0)),
        heterogeneity=Heterogeneity(1.0, 0.01, 0.9, 2.0, 0.5, 0.001, ()),
        groups=(GroupEffect("recency_days", "up to 30", 1250, "1 against 0", Estimate(17.25, 9.0, 25.5)),),
    )


def answer(
    finding: Finding,
    *,
    design: Design | None = None,
    recorded: Sequence[str] = ("recency_days",),
    treatment: Sequence[float] = (0.0, 1, 0, 1),
    unit: str = "EUR per customer",
    **changes: object,
) -> Answer:
    covariates = Covariates(tuple(recorded), np.zeros((4, len(recorded))))
    study = Study(np.array(treatment), np.zeros(4), covariates)
    posed = Posed(
        contract("x"), pa.table({}), study, design or Design(), date(2025, 5, 1), "was sent it",
        "net spend in 14 days", "true", unit, 1.0, 0.4, {"campaign": "email_winback"},
    )  # fmt: skip
    return answered(asked(**changes), posed, finding, "EUR")


def test_an_identified_answer_says_what_it_is_worth_with_its_interval():
    one = answer(found())
    assert one.worth == pytest.approx((0.4 * 12.3 - 1, 0.4 * 8.1 - 1, 0.4 * 16.5 - 1))
    text = memo(one, pictures(one))
    assert "changes net spend in 14 days by +12.3 [+8.1, +16.5] EUR per customer." in text
    assert "+3.92 [+2.24, +5.6] EUR for each customer. It pays." in text
    assert "It is no effect: the groups differed before" in text
    assert "as strong were missing, the effect would be between 6 and 18: the sign would stand" in text
    assert "| recency_days | up to 30 | 1,250 | +17.25 [+9, +25.5] EUR per customer |" in text
    for name in ("graph", "effects", "tests", "overlap", "balance", "sensitivity"):
        assert f"]({name}.svg)" in text
    effect = effect_of(one)
    assert (effect.name, effect.estimate, effect.verdict, effect.reasons) == ("winback", 12.3, "identified", ())


def test_the_memo_of_an_amount_has_words_of_its_own():
    gates = (Gate("overlap", True, 0.4, "40 % is left"), Gate("placebo_later_treatment", True, 0.5, "later prices"))
    one = answer(found(*gates), design=Design("continuous"), treatment=(2.3, 2.4, 3.1, 4.0))
    text = memo(one, pictures(one))
    assert "| Compared | 1,000 rows with each other, by the amount of each; 2.0% left out |" in text
    assert "Where nothing is held equal it is -4 [-6, -2] EUR per customer." in text
    assert "Does the amount still vary once the rest is held equal?" in text
    assert "Does a later treatment, which cannot have caused the outcome, go with nothing?" in text
    assert "group" not in text
    assert "treated with" not in text


def test_a_relative_change_is_told_in_percent():
    finding = replace(found(), estimates=(NamedEstimate("dml", "one more unit", Estimate(0.9175, 0.871, 0.966)),))
    assert "by +91.8% [+87.1%, +96.6%] of it." in sentence(answer(finding, unit=SHARE))


def test_what_the_graph_refuses_is_not_said_to_be_held_equal():
    arrows = [
        ("recency_days", "treatment"),
        ("recency_days", "outcome"),
        ("treatment", "clicks"),
        ("clicks", "outcome"),
    ]
    graph = Graph((*arrows, ("treatment", "outcome")), "treatment", "outcome")
    one = answer(found(), design=Design(graph=graph), recorded=("recency_days", "clicks"))
    assert one.confounders == ("recency_days",)
    assert "By what was known before, of which recency_days is held equal." in memo(one, pictures(one))


def test_a_policy_tells_the_population_that_it_was_learned_of():
    one = answer(found())
    assert policy_of(one, make_policy().rule).population == one.population == "true"


@pytest.mark.parametrize(
    ("estimate", "says"),
    [((-9.0, -12.0, -6.0), "It does not pay."), ((3.0, -1.0, 7.0), "Whether it pays is not certain")],
)
def test_a_memo_says_whether_it_pays(estimate, says):
    finding = found()
    named = NamedEstimate("doubly robust", "1 against 0", Estimate(*estimate))
    assert says in memo(answer(Finding(None, (named,), GATES, finding.treated, finding.control)))


def test_a_refused_answer_has_no_number_of_the_effect_in_any_form():
    one = answer(found(Gate("overlap", False, 0.4, "40 % of rows could have been in any arm")))
    assert (one.estimate, one.worth, one.finding.estimates, one.finding.sensitivity) == (None, None, (), None)
    text, row = memo(one, pictures(one)), row_of(one, "memo", [])
    for told_so in (text, row["effect"][0].as_py(), row["answer"][0].as_py()):
        assert "12.3" not in told_so
        assert "17.25" not in told_so
    assert "Not identified: do not act on any number" in text
    assert "40 % of rows could have been in any arm" in text
    assert "treat some at random next time" in text
    assert sentence(one).startswith("Not identified:")
    effect = effect_of(one)
    assert (effect.estimate, effect.verdict) == (None, "not identified")
    assert effect.reasons == ("40 % of rows could have been in any arm",)
    assert {picture.name for picture in pictures(one)}.isdisjoint({"effects", "sensitivity", "qini"})


def test_a_finding_with_no_estimate_and_no_failed_gate_is_refused_with_a_reason():
    one = answer(Finding(None, (), GATES, 300, 700))
    assert not one.is_identified
    assert effect_of(one).reasons == ("nothing could be estimated",)


def test_an_answer_is_stored_and_read_back_whole():
    one = answer(found(), unrecorded=())
    drawn = pictures(one)
    row = row_of(one, "memo", drawn)
    assert row.schema.equals(contract("winback").arrow_schema())
    assert Answer.model_validate_json(row["answer"][0].as_py()) == one
    (told,) = read_told(row.to_pylist())
    assert (told.effect, told.memo, told.pictures) == (effect_of(one), "memo", tuple(drawn))


def test_an_answer_of_before_its_pictures_were_stored_has_none():
    row = row_of(answer(found()), "memo", []).drop_columns("pictures")
    assert read_told(row.to_pylist())[0].pictures == ()


def test_pictures_are_the_same_for_the_same_answer():
    one = answer(found())
    assert [p.content for p in pictures(one)] == [p.content for p in pictures(one)]


def test_a_page_shows_tags_as_text_and_has_its_pictures_in_it():
    page = html_of(
        with_pictures("# <script>x</script>\n\n![a](a.svg)\n\n| a |\n| --- |\n| b |", {"a.svg": b"<svg/>"}), "<t>"
    )
    assert "<script>" not in page
    assert "<title>&lt;t&gt;</title>" in page
    assert '<img src="data:image/svg+xml;base64,' in page
    assert "<td>b</td>" in page
    assert "<a" not in html_of("[x](javascript:alert(1))", "t")


# Panels


START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def shop(assigned: list[tuple], lines: list[tuple], as_of: list[date], customers: int = 4) -> Data:
    """Customers C0, C1, …, known on each of the as-of dates, assignments and order lines (who, day, amount)."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(
        "CREATE TABLE assigned (experiment_id VARCHAR, customer_id VARCHAR, assigned_at TIMESTAMPTZ, variant VARCHAR)"
    )
    con.execute(
        "CREATE TABLE lines (order_id VARCHAR, customer_id VARCHAR, ordered_at TIMESTAMPTZ, net_amount DECIMAL(18, 2), "
        "margin_amount DECIMAL(18, 2), is_cancelled BOOLEAN)"
    )
    for row in assigned:
        con.execute("INSERT INTO assigned VALUES ('e', ?, ?, ?)", row)
    for number, (who, day, amount) in enumerate(lines):
        con.execute(
            "INSERT INTO lines VALUES (?, ?, ?, ?, ?, false)",
            (f"O{number}", who, START + day * DAY, amount, amount / 2),
        )
    rows = [(f"C{place}", day) for day in as_of for place in range(customers)]
    known = {"customer_id": [who for who, _ in rows], "as_of_date": [day for _, day in rows]}
    known |= {f.name: np.arange(len(rows)) + 1 for f in CUSTOMER_FEATURES.features}
    con.register("known", pa.table(known))
    marts = {"fct_experiment_assignments": "FROM assigned", "fct_order_items": "FROM lines", "fct_orders": "FROM lines"}
    return Data(con, marts, con.cursor, date(2025, 12, 31), "EUR", "SELECT * FROM known")


def test_each_customer_of_an_experiment_counts_from_their_own_assignment_on():
    assigned = [("C0", START, "control"), ("C1", START + 2 * DAY, "treatment"), ("C9", START, "treatment")]
    lines = [("C0", 1, 10), ("C0", -1, 5), ("C1", 1, 7), ("C1", 3, 20), ("C1", 13, 100), ("C3", 1, 1)]
    data = shop(assigned, lines, [START.date(), (START + 2 * DAY).date()])
    question = asked(treatment={"experiment": "e"}, outcome={"measure": "net_spend", "within_days": 10})
    found = pose(data, question)
    rows = {row["customer_id"]: row for row in found.rows.to_pylist()}
    assert set(rows) == {"C0", "C1"}, "C3 was not assigned, and nothing is known of C9"
    assert (rows["C0"]["treatment"], rows["C0"]["outcome"], rows["C0"]["control_earlier_outcome"]) == (0, 10, 5)
    assert (rows["C1"]["treatment"], rows["C1"]["outcome"], rows["C1"]["control_earlier_outcome"]) == (1, 20, 7)
    assert unsound(found) == []
    assert found.value == 0.5


def test_what_lasts_holds_on_each_date_until_it_changes_and_customers_are_clusters():
    tier = "select customer_id, assigned_at as happened_at, variant as level from fct_experiment_assignments"
    assigned = [("C0", START - 100 * DAY, "silver"), ("C0", START + 100 * DAY, "gold"), ("C1", START, "gold")]
    data = shop(assigned, [], [date(2025, 2, 1), date(2025, 5, 1)], customers=2)
    question = asked(
        treatment={"select": tier, "levels": ["silver", "gold"], "lasts": True},
        time={"dates": [date(2025, 2, 1), date(2025, 5, 1), date(2025, 12, 25)]},
        outcome={"measure": "orders", "within_days": 30},
    )
    found = pose(data, question)
    held = {(row["customer_id"], row["as_of_date"].month): row["treatment"] for row in found.rows.to_pylist()}
    assert held == {("C0", 2): 0, ("C1", 2): 1, ("C0", 5): 1, ("C1", 5): 1}, "in December the window is not over"
    assert len(set(found.study.clusters)) == 2


def test_an_own_treatment_and_outcome_count_from_the_end_of_the_days_of_the_treatment():
    call = "select customer_id, assigned_at as happened_at from fct_experiment_assignments"
    spent = "select customer_id, ordered_at as happened_at, net_amount as amount from fct_orders"
    data = shop([("C0", START + DAY, "x")], [("C0", 2, 10), ("C0", 8, 20), ("C1", 16, 40)], [START.date()])
    question = asked(
        treatment={"select": call, "within_days": 7},
        time={"dates": [START.date()]},
        outcome={"select": spent, "unit": "EUR", "within_days": 10},
        value=1.0,
    )
    rows = {row["customer_id"]: row for row in pose(data, question).rows.to_pylist()}
    assert [(rows[f"C{n}"]["treatment"], rows[f"C{n}"]["outcome"]) for n in range(3)] == [(1, 20), (0, 40), (0, 0)]


def test_a_level_that_is_not_named_is_refused_with_those_that_are():
    data = shop([("C0", START, "control"), ("C1", START, "b"), ("C2", START, "c")], [], [START.date()])
    with pytest.raises(QuestionError, match=r"has the variants control, b, c, and a binary treatment has two levels"):
        pose(data, asked(treatment={"experiment": "e"}))
    with pytest.raises(QuestionError, match=r"the level 'c' is none of control, b\. Name all in levels"):
        pose(data, asked(treatment={"experiment": "e", "levels": ["control", "b"]}))


def test_too_little_data_is_told_with_its_cure():
    with pytest.raises(NoAnswer, match="Nobody was assigned in the experiment e"):
        pose(shop([], [], [START.date()]), asked(treatment={"experiment": "e"}))
    late = shop([("C0", datetime(2025, 12, 30, tzinfo=UTC), "control")], [], [START.date()])
    with pytest.raises(NoAnswer, match=r"Load later data, or choose a shorter window"):
        pose(late, asked(treatment={"experiment": "e", "levels": ["control", "t"]}))


def test_a_panel_with_features_of_after_its_treatment_is_found():
    data = shop([("C0", START, "control"), ("C1", START, "t")], [], [START.date()])
    found = pose(data, asked(treatment={"experiment": "e"}))
    late = found.rows.set_column(
        found.rows.column_names.index("as_of_date"), "as_of_date", pa.array([date(2025, 1, 2)] * len(found.rows))
    )
    assert unsound(found._replace(rows=late)) == ["2 of 2: has features of after its treatment"]
    twice = pa.concat_tables([found.rows, found.rows])
    assert "is in it more than once" in unsound(found._replace(rows=twice))[0]
