from pathlib import Path

import httpx

from cartograph.releases import Manifest
from cartograph.settings import Settings
from tests.api.making import make_effect, publish, service


def test_each_question_comes_with_its_answer_or_the_verdict_that_there_is_none(
    client: httpx.Client, manifest: Manifest
) -> None:
    document = client.get("/v1/causal/effects").json()
    assert document["release_id"] == manifest.release_id
    assert document["as_of"] == "2026-01-01"
    answered, refused = document["effects"]
    assert answered == make_effect().model_dump(mode="json")
    assert (refused["verdict"], refused["estimate"]) == ("not identified", None)


def test_a_shop_without_campaigns_has_no_effects(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        assert client.get("/v1/causal/effects").json()["effects"] == []
