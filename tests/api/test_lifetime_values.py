"""Lifetime values and purchase propensities of given features over HTTP are what the core says of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from api.schemas.predictions import LifetimeValueBatch, LifetimeValuePrediction
from cartograph.releases.contents.files import CLV_CARD
from cartograph.settings import Settings
from ml_assets.core.models import clv
from tests.api.making import AS_OF, make_card, problem, publish, service
from tests.api.test_prediction_log import entries
from tests.api.valuing import CUSTOMER, clv_files, make_clv, propensity_files

PATH = "/v1/predict/lifetime_value"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    publish(settings, replaced=clv_files() | propensity_files())
    with service(settings) as client:
        yield client


def test_a_value_is_what_the_core_predicts(client: httpx.Client) -> None:
    known = clv.Known(AS_OF, *(np.array([CUSTOMER[name]]) for name in clv.INPUTS))
    values = clv.predict(make_clv(), known)
    answer = client.post(PATH, json={"features": CUSTOMER}).raise_for_status().json()
    LifetimeValuePrediction.model_validate(answer)
    assert answer["amount"] == pytest.approx(values.value[0])
    assert answer["expected_orders"] == pytest.approx(values.orders_365d[0])
    assert answer["expected_revenue"] == pytest.approx(values.revenue[0])
    assert answer["alive_probability"] == pytest.approx(values.alive[0])
    assert (answer["currency"], answer["model_version"], answer["as_of"]) == ("EUR", "7", "2026-01-01")


def test_who_ordered_lately_is_worth_more(client: httpx.Client) -> None:
    lately, long_ago = (
        client.post(PATH, json={"features": CUSTOMER | {"recency_days": days}}).json()["amount"] for days in (5, 250)
    )
    assert lately > 2 * long_ago


def test_a_batch_has_the_values_of_its_rows(client: httpx.Client) -> None:
    rows = [CUSTOMER | {"recency_days": days} for days in (5, 60, 250)]
    columns = {name: [row[name] for row in rows] for name in CUSTOMER}
    answer = client.post(f"{PATH}/batch", json={"features": columns}).raise_for_status().json()
    LifetimeValueBatch.model_validate(answer)
    single = [client.post(PATH, json={"features": row}).json() for row in rows]
    assert answer["amounts"] == pytest.approx([one["amount"] for one in single])
    assert answer["expected_orders"] == pytest.approx([one["expected_orders"] for one in single])
    assert answer["expected_revenues"] == pytest.approx([one["expected_revenue"] for one in single])
    assert answer["alive_probabilities"] == pytest.approx([one["alive_probability"] for one in single])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recency_days": 301}, "more than tenure_days: the latest order cannot have come before the first"),
        ({"order_days_count": 0}, "greater than or equal to 1"),
        ({"recency_days": None}, "valid integer"),
        ({"tenure_days": 401}, "less than or equal to 400"),
        ({"spend_amount": -1}, "greater than or equal to 0"),
    ],
)
def test_a_customer_who_cannot_be_is_refused(client: httpx.Client, change: dict[str, Any], message: str) -> None:
    (wrong,) = problem(client.post(PATH, json={"features": CUSTOMER | change}), 422, "invalid-request")["errors"]
    assert message in wrong["detail"]
    columns = {name: [CUSTOMER[name], value] for name, value in (CUSTOMER | change).items()}
    (wrong,) = problem(client.post(f"{PATH}/batch", json={"features": columns}), 422, "invalid-request")["errors"]
    assert message.removeprefix("more") in wrong["detail"]


def test_values_are_logged_as_other_scores_are(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prediction_log_share=1)
    publish(settings, replaced=clv_files())
    with service(settings) as client:
        one = client.post(PATH, json={"features": CUSTOMER}).raise_for_status().json()
        columns = {name: [value, value] for name, value in CUSTOMER.items()}
        many = client.post(f"{PATH}/batch", json={"features": columns}).raise_for_status().json()
    logged = entries(settings.prediction_log_dir)
    assert [(found.model, found.model_version) for found in logged] == [(clv.NAME, "7")] * 3
    assert [found.score for found in logged] == [one["amount"], *many["amounts"]]


def test_the_value_is_explained_in_money(client: httpx.Client) -> None:
    answer = client.post(PATH, params={"explain": True}, json={"features": CUSTOMER}).json()
    told = answer["explanation"]
    parts = {part["feature"]: part["contribution"] for part in told["contributions"]}
    assert (told["method"], told["unit"]) == ("turns", "EUR")
    assert told["base_value"] + sum(parts.values()) == pytest.approx(told["prediction"])
    assert told["prediction"] == pytest.approx(answer["amount"])
    # They spent more, on more days, and later than the typical customer of the release.
    assert min(parts["spend_amount"], parts["recency_days"]) > 0


def test_a_propensity_is_predicted_and_listed(client: httpx.Client) -> None:
    features = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}
    answer = client.post("/v1/predict/propensity", json={"features": features}).raise_for_status().json()
    assert answer["probability"] == client.post("/v1/predict/churn", json={"features": features}).json()["probability"]
    assert answer["model_version"] == "6"
    assert {"purchase_propensity", clv.NAME} <= {card["name"] for card in client.get("/v1/release").json()["models"]}


def test_a_release_made_before_is_served_without_them(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        for path in (PATH, f"{PATH}/batch", "/v1/predict/propensity"):
            assert "made before" in problem(client.post(path, json={"features": CUSTOMER}), 404, "no-model")["detail"]


def not_served(tmp_path: Path, files: dict[str, bytes | None]) -> str:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=files)
    with service(settings) as client:
        return str(problem(client.get("/v1/release"), 503, "no-release")["detail"])


def test_a_model_that_is_too_old_for_the_release_is_not_served(tmp_path: Path) -> None:
    old = make_clv().model_copy(update={"start": AS_OF - timedelta(days=800)})
    assert "cannot tell of 365 days" in not_served(tmp_path, clv_files(old))


def test_a_model_of_other_features_is_not_served(tmp_path: Path) -> None:
    card = make_card(name=clv.NAME).model_dump_json().encode()
    assert "must list order_days_count" in not_served(tmp_path, clv_files() | {CLV_CARD: card})
