"""Champion and challenger on a shop whose rates are known: both meet on days that neither has learned from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from ml_assets.core.evaluation.promotion import STALE_DAYS, Contest, NotComparable, judge
from ml_assets.core.features.customers import OPTIONAL_MARTS, REQUIRED_MARTS, feature_table
from ml_assets.core.models import churn, clv
from ml_assets.core.models.classifier_training import Trained, train_classifier
from ml_assets.core.models.contests import classifier_contest, clv_contest
from ml_assets.core.models.subgroups import groups
from ml_assets.core.registry import NoModel, Registered
from tests.model.planted import END_DAY, START, date_of

DATES = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(1, 22)]
END = date_of(END_DAY)
MIDDLE = date(2025, 7, 1)


@pytest.fixture(scope="module")
def tables(con, marts) -> tuple[str, dict[str, str]]:
    chosen = {name: marts[name] for name in (*REQUIRED_MARTS, *OPTIONAL_MARTS) if name in marts}
    con.register("contest_rows", feature_table(con, chosen, DATES))
    return "FROM contest_rows", chosen


@pytest.fixture(scope="module")
def churned(con, tables) -> Callable[[date], Trained]:
    features, marts = tables
    orders = marts["fct_orders"]
    return lambda end: train_classifier(con, churn.QUESTION, features, orders, DATES, data_start=START, data_end=end)


@pytest.fixture(scope="module")
def valued(con, tables) -> Callable[[date], clv.Trained]:
    return lambda end: clv.train(con, *tables, DATES, data_start=START, data_end=end)


def registered(name: str, content: bytes, card: dict) -> Registered:
    return Registered(name, "1", content, card)


def test_churn_models_meet_on_the_holdout_of_the_later_one(con, tables, churned):
    features, marts = tables
    early, late = churned(MIDDLE), churned(END)
    champion = registered(churn.NAME, early.form.content, early.card)
    contest = classifier_contest(con, features, marts["fct_orders"], late, champion)
    assert contest.window[0] == late.split.holdout >= early.split.holdout
    assert contest.challenger.mean() == pytest.approx(late.scores.brier)
    assert contest.newer_days == (late.split.holdout - early.split.holdout).days
    assert contest.miscalibration[1] == pytest.approx(late.scores.ece)
    assert contest.latency_ms > 0

    same = classifier_contest(
        con, features, marts["fct_orders"], late, registered(churn.NAME, late.form.content, late.card)
    )
    assert judge(same).outcome == "kept"
    assert judge(same).evidence["gain"] == 0

    with pytest.raises(NotComparable, match="has learned from outcomes up to"):
        classifier_contest(
            con, features, marts["fct_orders"], early, registered(churn.NAME, late.form.content, late.card)
        )


def test_a_champion_whose_feature_is_gone_cannot_compete(con, tables, churned):
    features, marts = tables
    late = churned(END)
    gone = late.card | {"features": [late.card["features"][0] | {"name": "loyalty_score"}]}
    with pytest.raises(NoModel, match="takes loyalty_score, which the feature table does not have"):
        classifier_contest(con, features, marts["fct_orders"], late, registered(churn.NAME, late.form.content, gone))


def value_contest(con, tables, late: clv.Trained, early: clv.Trained) -> Contest:
    champion = registered(clv.NAME, early.model.to_bytes(), early.card)
    return clv_contest(con, *tables, late, START, END, champion)


def test_lifetime_values_meet_on_the_days_after_the_champion(con, tables, valued):
    early, late = valued(MIDDLE), valued(END)
    contest = value_contest(con, tables, late, early)
    assert contest.window == (early.model.as_of, END)
    assert np.array_equal(contest.champion, contest.challenger), "the same method, with what the champion knew"
    assert judge(contest._replace(newer_days=STALE_DAYS - 1)).outcome == "kept"
    assert judge(contest._replace(newer_days=STALE_DAYS)).outcome == "promoted"
    with pytest.raises(NotComparable, match="since then there is 1 day of orders, and 28 are needed"):
        value_contest(con, tables, late, late)


def test_a_worse_method_of_lifetime_values_is_refused(con, tables, valued, monkeypatch):
    early, sound = valued(MIDDLE), clv.fit
    monkeypatch.setattr(clv, "fit", lambda *given: sound(*given).model_copy(update={"kept_share": 3.0}))
    found = judge(value_contest(con, tables, early, early))
    assert found.outcome == "refused"
    assert "miscalibrated by" in found.reason


def test_each_customer_is_in_one_group_by_tenure(con, tables):
    rows = clv.ordered_rows(con, tables[0], MIDDLE)
    found = groups(rows)
    assert sum(found[name].sum() for name in found if name.startswith("the first order")) == len(rows)
    assert {name for name in found if name.startswith("email")} == {"email_opt_in is 0", "email_opt_in is 1"}
