"""Releases that tell themselves apart in every answer, and ways to spoil one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cartograph.releases import Manifest
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.files import CHURN_CARD, GOLDEN, SCHEMA_FILE, SHOP
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.models import input_schema
from cartograph.settings import Settings
from tests.api.making import classifier, make_card, make_customers, make_effect, publish

GIVEN = {"recency_days": 200, "mean_gap_days": 12.5, "is_opted_in": True}
CUSTOMERS = ["C1", "C2", "C3"]
SCHEMA = SCHEMA_FILE.format(name="churn_classifier")


def make_golden(version: str, **changed: Any) -> Golden:
    """What a release of `version` must answer; the probability is the trained model's, which the service never saw."""
    trained = float(classifier().predict_proba(np.array([list(GIVEN.values())], np.float32))[0, 1])
    expected: dict[str, Any] = {"segment": version, "probability": trained, "question": version, **changed}
    return Golden(
        requests=(
            GoldenRequest(name="shop", path="/v1/release", answer={"shop": {"title": version}, "customers": 3}),
            GoldenRequest(name="customer", path="/v1/customers/C1", answer={"segment": expected["segment"]}),
            GoldenRequest(
                name="churn",
                method="POST",
                path="/v1/predict/churn",
                body={"features": GIVEN},
                answer={"probability": expected["probability"], "model_version": version},
                tolerance=1e-6,
            ),
            GoldenRequest(
                name="effects", path="/v1/causal/effects", answer={"effects": [{"question": expected["question"]}]}
            ),
            GoldenRequest(name="nobody", path="/v1/customers/nobody", status=404, answer={"status": 404}),
        )
    )


def release(settings: Settings, version: str, replaced: Mapping[str, bytes | None] | None = None) -> Manifest:
    """Publish a release in which customers, shop, model and effects all bear `version`."""
    customers = make_customers(CUSTOMERS).drop_columns("segment").append_column("segment", [[version] * len(CUSTOMERS)])
    card = make_card(version=version)
    shop = ShopCard(name="simulated", title=version, currency="EUR")
    files: dict[str, bytes | None] = {
        CHURN_CARD: card.model_dump_json().encode(),
        SCHEMA: json.dumps(input_schema(card)).encode(),
        SHOP: shop.model_dump_json().encode(),
        GOLDEN: make_golden(version).model_dump_json().encode(),
    }
    return publish(
        settings, customers=customers, effects=(make_effect(question=version),), replaced={**files, **(replaced or {})}
    )


def overwrite(path: Path, content: bytes) -> None:
    """Change a released file where it lies, as a broken disk does."""
    path.chmod(0o644)
    path.write_bytes(content)


def point_to(settings: Settings, release_id: str) -> None:
    """Move the pointer past all that the store verifies, as another writer or another version might."""
    path = settings.shop_home / "releases" / "current.json"
    pointer = json.loads(path.read_bytes())
    if pointer["current"] != release_id:
        pointer = {**pointer, "current": release_id, "previous": [*pointer["previous"], pointer["current"]]}
    aside = path.with_name(".pointer")
    aside.write_text(json.dumps(pointer))
    aside.replace(path)
