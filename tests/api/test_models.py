"""The cards of the models behind a release."""

from __future__ import annotations

import httpx
import pytest

from cartograph.releases import Manifest
from tests.api.making import CARD, PICTURE, problem


def test_the_models_of_the_release_are_listed_with_their_versions(client: httpx.Client, manifest: Manifest) -> None:
    listed = client.get("/v1/models").json()
    assert listed["release_id"] == manifest.release_id
    assert listed["models"] == [
        {"name": "churn_classifier", "version": "3", "has_card": True},
        {"name": "order_fraud", "version": "2", "has_card": False},
    ]


def test_a_card_is_served_as_released_and_its_pictures_are_found_beside_it(client: httpx.Client) -> None:
    card = client.get("/v1/models/churn_classifier/card")
    assert card.headers["content-type"].startswith("text/markdown")
    assert card.content == CARD
    picture = client.get(str(card.url.join("gains.svg")))
    assert picture.headers["content-type"] == "image/svg+xml"
    assert picture.content == PICTURE


@pytest.mark.parametrize("path", ["order_fraud/card", "oracle/card", "churn_classifier/lift.svg", "..%2Fshop/card"])
def test_a_card_or_picture_that_there_is_not_is_a_problem(client: httpx.Client, path: str) -> None:
    found = client.get(f"/v1/models/{path}")
    assert found.status_code == 404
    if "%" not in path:
        assert "GET /v1/models lists" in problem(found, 404, "no-card")["detail"]
