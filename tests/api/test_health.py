from pathlib import Path

import httpx
import pytest

from cartograph.releases import Manifest
from cartograph.releases.contents.files import CHURN_CARD, CHURN_MODEL, CUSTOMERS, EFFECTS_FILE, SHOP
from cartograph.settings import Settings
from tests.api.making import FEATURES, make_card, onnx_model, problem, publish, service


def test_it_is_ready_with_a_verified_release(client: httpx.Client, manifest: Manifest) -> None:
    assert client.get("/health").json()["status"] == "alive"
    ready = client.get("/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
        "problem": None,
    }


def test_without_a_release_it_is_alive_and_not_ready_and_says_what_to_do(tmp_path: Path) -> None:
    with service(Settings(home=tmp_path)) as client:
        assert client.get("/health").status_code == 200
        for path in ("/ready", "/v1/release", "/v1/customers/C1", "/v1/causal/effects"):
            assert "cartograph run" in problem(client.get(path), 503, "no-release")["detail"]
        answer = client.post("/v1/predict/churn", json={"features": {}})
        assert "cartograph run" in problem(answer, 503, "no-release")["detail"]


@pytest.mark.parametrize("name", [CUSTOMERS, CHURN_MODEL, CHURN_CARD, EFFECTS_FILE, SHOP])
def test_a_damaged_file_is_named_and_nothing_of_its_release_is_served(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path)
    damaged = publish(settings)
    path = settings.shop_home / "releases" / damaged.release_id / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    expected = damaged.file(name)
    assert expected is not None
    with service(settings) as client:
        detail = problem(client.get("/ready"), 503, "no-release")["detail"]
        assert f"{name} should have SHA-256 {expected.sha256}" in detail
        problem(client.get("/v1/customers/C1"), 503, "no-release")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (SHOP, None, "has no shop.json"),
        (SHOP, b"{}", "title"),
        (CUSTOMERS, b"not arrow", "customers.arrow is not an Arrow file"),
        (CHURN_MODEL, b"not onnx", "models/churn_classifier.onnx cannot be loaded"),
        (CHURN_CARD, b"[]", "models/churn_classifier.json cannot be used"),
        (CHURN_CARD, make_card(features=FEATURES[:2]).model_dump_json().encode(), "lists 2 features"),
        (EFFECTS_FILE, b'[{"question": "q"}]', "treatment"),
    ],
)
def test_a_release_of_another_form_is_not_served(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced={name: content})
    with service(settings) as client:
        detail = problem(client.get("/ready"), 503, "no-release")["detail"]
    assert message in detail
    assert "cartograph release rollback" in detail


def test_a_model_that_is_no_classifier_is_not_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced={CHURN_MODEL: onnx_model().replace(b"probabilities", b"probabilitiez")})
    with service(settings) as client:
        assert "has no output probabilities" in problem(client.get("/ready"), 503, "no-release")["detail"]
