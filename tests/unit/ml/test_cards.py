"""The card of each kind of model, from what a training hands over to the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from cartograph.trust.evidence import checked
from ml_assets.core.causal.uplift import HeldOut
from ml_assets.core.evaluation import values
from ml_assets.core.evaluation.classification import Interval, evaluate, interval
from ml_assets.core.evaluation.forecasting import Window
from ml_assets.core.evaluation.promotion import Verdict
from ml_assets.core.evaluation.ranking import CUTOFFS
from ml_assets.core.evaluation.uplift import Policy
from ml_assets.core.features.customers import column_values
from ml_assets.core.models import campaign_uplift, churn, classifier, clv, findings, fraud, propensity, segments
from ml_assets.core.models.about import ABOUT
from ml_assets.core.models.cards import history, index, page
from ml_assets.core.models.classifier_training import Trained as ClassifierTrained
from ml_assets.core.models.demand import training as demand
from ml_assets.core.models.fraud_training import Loss
from ml_assets.core.models.fraud_training import Trained as FraudTrained
from ml_assets.core.models.recipes import RECIPES
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.models.report import Caption, CheckLine, Findings, Report
from ml_assets.core.models.training import Exported, boosted_trees, fit_calibrated
from ml_assets.core.registry import Decision, Registered, Version
from ml_assets.defs.training.steps import line_of
from tests.graph.cards import SECTIONS, sections_of

DAY = date(2025, 7, 1)
ROWS = 1200


def drawn(label: str) -> tuple[pa.Table, Any, np.ndarray, tuple[str, ...]]:
    """Rows of customers or orders with a label, a classifier of them, and its probabilities."""
    draw = np.random.default_rng(4)
    columns = {
        "recency_days": draw.integers(1, 180, ROWS),
        "orders_180d": draw.integers(0, 9, ROWS),
        "tenure_days": draw.integers(0, 700, ROWS),
        "loyalty_rank": draw.integers(1, 4, ROWS),
        "email_opt_in": draw.integers(0, 2, ROWS),
        "is_guest": draw.integers(0, 2, ROWS),
        "is_first_order": draw.integers(0, 2, ROWS),
        "total_amount": draw.gamma(2, 40, ROWS),
        "orders_24h": draw.integers(0, 4, ROWS),
        "card_orders_24h": draw.integers(0, 2, ROWS),
        "is_sent_elsewhere": draw.integers(0, 2, ROWS),
        "amount_to_shop_mean": draw.gamma(2, 1, ROWS),
        "card_others": draw.integers(0, 2, ROWS),
        "device_others": draw.integers(0, 2, ROWS),
    }
    rows = pa.table(columns).append_column(
        label, pa.array((columns["recency_days"] / 60 + draw.normal(size=ROWS) > 2).astype(np.int64))
    )
    names = ("recency_days", "orders_180d", "total_amount")
    matrix = column_values(rows, names)
    parameters = {"max_iter": 10, "random_state": 1}
    model = fit_calibrated(matrix, rows[label].to_numpy(), np.arange(ROWS), boosted_trees(parameters))
    return rows, model, model.predict_proba(matrix)[:, 1], names


def of_classifier(question: classifier.Question) -> Findings:
    rows, model, probabilities, names = drawn(question.label)
    labels = classifier.target(question, rows)
    trained = ClassifierTrained(
        question=question,
        model=model,
        form=Exported(b"", 0.0, ROWS),
        names=names,
        split=classifier.Split((DAY,), DAY),
        training_rows=ROWS,
        scores=evaluate(labels, probabilities),
        measured=interval(labels, probabilities),
        baselines={},
        best_rule="recency_rule",
        gain=Interval(0.1, 0.05, 0.15),
        feature_aucs={},
        held_out=rows,
        probabilities=probabilities,
        rankings={name: rule(rows) for name, rule in question.rules.items()},
    )
    return findings.of_classifier(trained, ABOUT[question.name])


def of_fraud() -> Findings:
    rows, model, probabilities, names = drawn(fraud.LABEL)
    labels, amounts = fraud.target(rows), fraud.amounts(rows)
    trained = FraudTrained(
        model=model,
        form=Exported(b"", 0.0, ROWS),
        names=names,
        split=fraud.Split(DAY, DAY, DAY, DAY, DAY),
        training_rows=ROWS,
        training_frauds=40,
        scores=evaluate(labels, probabilities),
        precision=interval(labels, probabilities),
        rules_precision=interval(labels, probabilities),
        gain=Interval(0.1, 0.05, 0.15),
        recall=0.5,
        expected=1.0,
        loss=Loss(fraud.loss(labels, amounts, fraud.is_reviewed(probabilities, amounts)), 2.0, 3.0),
        rules_needed=2,
        alone={},
        held_out=rows,
        probabilities=probabilities,
    )
    return findings.of_fraud(trained)


def of_clv() -> Findings:
    rows = drawn("label")[0]
    draw = np.random.default_rng(2)
    actual, predicted = draw.gamma(0.3, 100, ROWS), draw.gamma(0.3, 100, ROWS)
    trained: Any = SimpleNamespace(
        model=SimpleNamespace(as_of=DAY),
        holdout=DAY,
        customers=ROWS,
        scores=values.evaluate(actual, predicted),
        rows=rows,
        actual=actual,
        predicted=predicted,
        usual={"own_rate": predicted[::-1], "last_period": actual},
    )
    return findings.of_clv(trained)


def of_segments() -> Findings:
    found = tuple(
        segments.Segment(number=number, name=name, centre=(1.0, -0.5), customers=number * 100)
        for number, name in ((1, "orders on mobile"), (2, "with coupons"))
    )
    model = segments.SegmentModel(
        as_of=DAY, behaviours=("mobile_orders", "coupons"), typical=(0, 0), mean=(0, 0), spread=(1, 1), segments=found,
        largest_number=2,
    )  # fmt: skip
    return findings.of_segments(segments.Trained(model, model, 300, {2: 0.4}, 0.9, DAY, {"spend": 0.1}, {"spend": 0.2}))


def of_demand() -> Findings:
    draw = np.random.default_rng(3)
    actual = draw.poisson(4, (30, 14)).astype(float)
    actual[0, :3] = np.nan
    window = Window(actual, np.ones(30), np.ones(30), np.arange(30.0))
    forecast = SimpleNamespace(
        mean=np.full((30, 14), 4.0),
        series=tuple(f"P{number}" for number in range(30)),
        interval=lambda: (np.full((30, 14), 1.0), np.full((30, 14), 8.0)),
    )
    trained: Any = SimpleNamespace(
        as_of=DAY, tested=(DAY, DAY), products=30, scored=16, windows=(window, window), forecasts=(forecast, forecast)
    )
    return findings.of_demand(trained)


def of_recommender() -> Findings:
    scores = {f"{measure}@{k}": Interval(k / 50, 0, 1) for measure in ("recall", "ndcg") for k in CUTOFFS}
    trained: Any = SimpleNamespace(
        recommender=SimpleNamespace(as_of=DAY),
        customers=400,
        newcomers=20,
        scores={"chosen": scores, "popularity": scores},
        coverages={"chosen": 0.8, "popularity": 0.1},
        places=np.array([5, 3, 0, 0]),
        cold_start={"chosen": 0.1},
    )
    return findings.of_recommender(trained)


def of_uplift() -> Findings:
    area, worth = Interval(0.8, 0.1, 1.5), Interval(4.0, 1.5, 6.5)
    held = HeldOut(600, area, Interval(0.5, -0.1, 1.1), 3.9, worth, Policy(0.8, worth, worth, area))
    trained: Any = SimpleNamespace(
        model=SimpleNamespace(as_of=DAY),
        learned={"email_spring": held},
        examined=(
            SimpleNamespace(campaign=SimpleNamespace(campaign_id="email_spring"), refusal=None),
            SimpleNamespace(campaign=SimpleNamespace(campaign_id="email_vip"), refusal="it failed back_door"),
        ),
    )
    return findings.of_uplift(trained)


KINDS: dict[str, Callable[[], Findings]] = {
    churn.NAME: lambda: of_classifier(churn.QUESTION),
    propensity.NAME: lambda: of_classifier(propensity.QUESTION),
    fraud.NAME: of_fraud,
    clv.NAME: of_clv,
    segments.NAME: of_segments,
    demand.NAME: of_demand,
    product_recommender.NAME: of_recommender,
    campaign_uplift.NAME: of_uplift,
}


def registered(name: str, found: Findings | None) -> tuple[Version, Registered]:
    """A version as the registry has it."""
    version = Version(
        name=name,
        version="4",
        registered_at=datetime(2025, 8, 1, tzinfo=UTC),
        as_of=str(DAY),
        sha256="ab" * 32,
        form="onnx",
        aliases=("champion",),
        origin={"snapshot.features.customer_features": "77", "git_commit": "c0ffee", "shop_start": "2024-01-01"},
        failed=("beats_rule",),
        verdict=Verdict(outcome="refused", reason="it did not pass beats_rule"),
    )
    report = found and Report(
        about=found.about,
        data=found.data,
        parameters={"trees": "40"},
        checks=(CheckLine(name="beats_rule", passed=False, blocks=True, expected="an AUC above 0.9", found="0.87"),),
        groups=found.groups,
        pictures=tuple(Caption(file=one.file, text=one.caption) for one in found.pictures),
    )
    metrics = {"auc": 0.87654, "auc_low": 0.85, "auc_high": 0.9, "brier": 0.1}
    card = {
        "name": name,
        "as_of": str(DAY),
        "features": [{"name": "recency_days", "type": "bigint", "description": "Days | since."}],
        "metrics": metrics,
        "baseline_metrics": {"rule.auc": 0.8, "rule.loss": 2.0},
    }
    pictures = {one.file: one.content for one in found.pictures} if found else {}
    return version, Registered(name, "4", b"", card, report, pictures)


def test_every_model_is_told_about() -> None:
    assert ABOUT.keys() == KINDS.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", KINDS)
def test_the_card_of_each_model_has_all_sections_and_small_pictures_that_come_out_alike(name: str) -> None:
    found = KINDS[name]()
    again = KINDS[name]()
    assert found == again, "the same training draws the same bytes"
    assert all(len(one.content) < 60_000 for one in found.pictures)
    text = page(*registered(name, found))
    sections = sections_of(text)
    assert tuple(sections) == SECTIONS
    assert all(part.strip() for part in sections.values())
    assert all(f"]({one.file})" in sections["Pictures"] for one in found.pictures)
    assert all(f"| {group.name} |" in sections["Subgroups"] for group in found.groups)
    assert len(found.groups) >= 1
    assert "nan" not in text
    assert found.about.ethics[0] in sections["Ethics"]
    again_by = "reproduce" in sections["How to make it again"]
    assert again_by == (name in RECIPES)


def test_the_card_of_segments_says_by_whose_numbers_they_went_and_not_all_that_these_were() -> None:
    version, model = registered(segments.NAME, of_segments())
    earlier = segments.SegmentModel(
        as_of=DAY, behaviours=(), typical=(), mean=(), spread=(), segments=(), largest_number=0
    )
    for told, expected in (
        (earlier.to_bytes().decode(), f"| earlier | the segments of {DAY}, whose numbers it keeps |"),
        (segments.NO_EARLIER, "| earlier | none |"),
    ):
        text = page(version._replace(origin={"earlier": told}), model)
        assert expected in text
        assert "largest_number" not in text


def test_a_card_tells_figures_with_their_intervals_beside_the_baselines_and_what_failed() -> None:
    sections = sections_of(page(*registered(churn.NAME, of_classifier(churn.QUESTION))))
    assert "| auc | 0.8765 | 0.85 to 0.9 | rule 0.8 |" in sections["How good it is"]
    assert "| brier | 0.1 | – | – |" in sections["How good it is"]
    assert "| rule.loss | – | – | 2 |" in sections["How good it is"]
    assert "| beats_rule | failed | yes | an AUC above 0.9 | 0.87 |" in sections["Checks"]
    assert "`features.customer_features` at snapshot 77" in sections["Features"]
    assert r"Days \| since." in sections["Features"]
    assert "| git commit | c0ffee |" in sections["Origin"]


def test_a_version_of_an_older_cartograph_has_a_card_of_its_figures() -> None:
    text = page(*registered(churn.NAME, None))
    assert "An older Cartograph registered it" in text
    assert set(sections_of(text)) == {"How good it is", "Features", "Origin", "How to make it again"}


def test_the_history_tells_what_became_of_a_version_and_the_index_leads_to_the_cards() -> None:
    version, model = registered(churn.NAME, of_classifier(churn.QUESTION))
    decision = Decision(
        action="promoted", version="4", previous="3", by="ada", at=version.registered_at, reason="agreed", is_gate=False
    )
    told = history(version, [decision])
    assert "| gate | refused: it did not pass beats_rule |" in told
    assert "| 2025-08-01 00:00 | promoted: version 4 | ada | agreed |" in told
    assert "It never did." in history(version, [])
    row = f"| [churn_classifier](churn_classifier.md) | Who is about to leave | 4 | {DAY} | 0 of 1 |"
    assert row in index({churn.NAME: (version, model)}, "The shop")


def test_the_cards_in_the_docs_are_of_all_models_and_their_pictures_are_there() -> None:
    folder = Path(__file__).parents[3] / "docs" / "models"
    listed = set(re.findall(r"\]\((\w+)\.md\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == KINDS.keys()
    for name in listed:
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        assert tuple(sections_of(text)) == SECTIONS
        assert ABOUT[name].purpose in text
        shown = set(re.findall(r"!\[\w+\]\((\S+)\)", text))
        assert shown == {f"{name}/{path.name}" for path in (folder / name).iterdir()}


@pytest.mark.parametrize(
    ("passed", "severity", "blocks"), [(True, "error", True), (False, "error", True), (False, "warning", False)]
)
def test_a_blocking_check_that_only_warned_is_told_as_one_that_does_not_block(
    passed: bool, severity: Literal["error", "warning"], blocks: bool
) -> None:
    line = line_of(checked("is_fine", passed, expected="1", found="2", severity=severity), is_blocking=True)
    assert (line.passed, line.blocks) == (passed, blocks)
