"""A small release with a real model, and the service of it over real HTTP."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier

from api.connections import BoundedProtocol
from api.main import create_app
from cartograph.releases import Manifest, ReleaseInputs, open_store
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import EFFECTS, Effect, EffectCheck
from cartograph.releases.contents.files import (
    CARD_PAGE,
    CHURN_CARD,
    CHURN_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_CARD,
    DEMAND_REASONS,
    EFFECTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
    GOLDEN,
    PRODUCTS,
    REORDER,
    SCHEMA_FILE,
    SHOP,
)
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.models import FeatureSpec, ModelCard, Review, input_schema
from cartograph.releases.contents.tables import (
    DEMAND_COLUMNS,
    DEMAND_REASON_COLUMNS,
    REORDER_COLUMNS,
    write_customers,
    write_lists,
    write_product_features,
    write_products,
)
from cartograph.settings import Settings
from tests.api.recommending import FILES, batch

AS_OF = date(2026, 1, 1)
CARD = b"# churn_classifier, version 3\n\n![gains](gains.svg)\n"
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
FEATURES = (
    FeatureSpec(name="recency_days", type="bigint", description="Since the latest order.", nullable=False, minimum=0),
    FeatureSpec(
        name="mean_gap_days", type="double", description="Between orders.", nullable=True, minimum=0, maximum=4e3
    ),
    FeatureSpec(name="is_opted_in", type="boolean", description="Takes e-mail.", nullable=False),
)


@cache
def classifier() -> Any:
    """Customers are lost when they are long overdue: 400 rows, a few trees."""
    draw = np.random.default_rng(7)
    rows = np.column_stack([draw.integers(0, 365, 400), draw.uniform(1, 90, 400), draw.integers(0, 2, 400)])
    lost = rows[:, 0] > 3 * rows[:, 1]
    rows[::5, 1] = np.nan
    return HistGradientBoostingClassifier(max_iter=8, random_state=7).fit(rows.astype(np.float32), lost)


@cache
def onnx_model() -> bytes:
    inputs = [("features", FloatTensorType([None, len(FEATURES)]))]
    model = to_onnx(classifier(), initial_types=inputs, options={"zipmap": False})
    return bytes(model.SerializeToString())


def make_card(**changes: Any) -> ModelCard:
    defaults: dict[str, Any] = {
        "name": "churn_classifier",
        "version": "3",
        "as_of": AS_OF,
        "features": FEATURES,
        "metrics": {"auc": 0.9},
        "baseline_metrics": {"auc": 0.8},
    }
    return ModelCard(**{**defaults, **changes})


def make_fraud_card(**changes: Any) -> ModelCard:
    """The card of a fraud model: in these tests the same model, with amounts in the first column."""
    amount = FeatureSpec(name="total_amount", type="bigint", description="To pay.", nullable=False, minimum=0)
    review = Review(amount="total_amount", cost=5.0)
    defaults = {"name": "order_fraud", "version": "2", "features": (amount, *FEATURES[1:]), "review": review}
    return make_card(**{**defaults, **changes})


def make_effect(**changes: Any) -> Effect:
    defaults: dict[str, Any] = {
        "question": "email_spring",
        "treatment": "got the e-mail",
        "outcome": "spend_30d",
        "estimand": "ATT",
        "unit": "EUR per customer",
        "estimate": 4.2,
        "ci_low": 3.1,
        "ci_high": 5.3,
        "confidence_level": 0.95,
        "n_treated": 900,
        "n_control": 950,
        "checks": (EffectCheck(name="overlap", passed=True, detail="99 % in [0.02, 0.98]"),),
        "verdict": "identified",
        "as_of": AS_OF,
        "method": "LinearDML",
    }
    return Effect(**{**defaults, **changes})


def make_customers(ids: list[str], probability: float | None = 0.25) -> pa.Table:
    rows = len(ids)
    version = pa.array([None if probability is None else "3"] * rows, pa.string())
    return pa.table(
        {
            "customer_id": pa.array(ids, pa.string()),
            "as_of": pa.array([AS_OF] * rows, pa.date32()),
            "segment": pa.array(["champions"] * rows, pa.string()),
            "churn_probability": pa.array([probability] * rows, pa.float64()),
            "churn_model_version": version,
            "purchase_probability": pa.array([probability] * rows, pa.float64()),
            "propensity_model_version": version,
            "segment_number": pa.array([None if probability is None else 2] * rows, pa.int64()),
            "behaviour_segment": pa.array([None if probability is None else "with coupons"] * rows, pa.string()),
            "segments_model_version": version,
            "alive_probability": pa.array([probability] * rows, pa.float64()),
            "expected_orders_365d": pa.array([probability] * rows, pa.float64()),
            "expected_revenue_365d": pa.array([probability] * rows, pa.float64()),
            "lifetime_value_amount": pa.array([None if probability is None else -1.5] * rows, pa.float64()),
            "clv_model_version": version,
            "next_action": pa.array([None if probability is None else "email_spring"] * rows, pa.string()),
            "next_action_reason": pa.array([None if probability is None else "adds_most"] * rows, pa.string()),
            "added_margin_amount": pa.array([None if probability is None else 2.5] * rows, pa.float64()),
            "added_margin_low": pa.array([None if probability is None else -0.5] * rows, pa.float64()),
            "added_margin_high": pa.array([None if probability is None else 5.5] * rows, pa.float64()),
            "uplift_model_version": version,
            "policies": pa.array(
                [["email_spring"] if at % 3 != 2 else [] for at in range(rows)], pa.list_(pa.string())
            ),
            "recency_days": pa.array(range(rows), pa.int64()),
            "mean_gap_days": pa.array([float("nan") if at % 2 else None for at in range(rows)], pa.float64()),
            "is_opted_in": pa.array([at % 2 == 0 for at in range(rows)], pa.bool_()),
        }
    )


NO_RECOMMENDER: dict[str, bytes | None] = dict.fromkeys(FILES)
"""What a release without a recommender leaves out."""


def arrow_file(customers: pa.Table) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / CUSTOMERS
        write_customers(path, customers)
        return path.read_bytes()


def make_products(ids: list[str]) -> pa.Table:
    """Features of products, of which product n sold n units; every other one has no price."""
    rows = len(ids)
    return pa.table(
        {
            "product_id": pa.array(ids, pa.string()),
            "as_of": pa.array([AS_OF] * rows, pa.date32()),
            "list_price": pa.array([None if at % 2 else at + 0.5 for at in range(rows)], pa.float64()),
            "units_30d": pa.array(range(rows), pa.int64()),
        }
    )


def product_files(products: pa.Table) -> dict[str, bytes | None]:
    """The file of products' features of a release."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / PRODUCTS
        write_product_features(path, products)
        return {PRODUCTS: path.read_bytes()}


def make_forecasts(ids: list[str], days: int = 3) -> pa.Table:
    """Forecasts of which product n has a mean of n on the first day and 1 more on each that follows."""
    return pa.Table.from_pylist(
        [
            {"product_id": product, "as_of": AS_OF, "date": AS_OF + timedelta(days=day), "mean": at + day, "low": 0.0}
            | {"p25": 1.0, "median": 2.0, "p75": 3.0, "high": 4.5, "model_version": "5"}
            for at, product in enumerate(ids)
            for day in range(days)
        ],
        schema=pa.schema(list(DEMAND_COLUMNS.items())),
    )


def make_advice(ids: list[str]) -> pa.Table:
    """Advice of which product n has n in stock."""
    return pa.Table.from_pylist(
        [
            {"product_id": product, "as_of": AS_OF, "lead_days": 3, "review_days": 7, "service_level": 0.95}
            | {"expected_demand": 6.5, "reorder_point": 10.0, "safety_stock": 3.5, "stock": float(at)}
            | {"order_quantity": max(10.0 - at, 0.0), "model_version": "5"}
            for at, product in enumerate(ids)
        ],
        schema=pa.schema(list(REORDER_COLUMNS.items())),
    )


def make_reasons(ids: list[str]) -> pa.Table:
    """Reasons of which product n sells e to the power of n / 10 a day."""
    return pa.Table.from_pylist(
        [
            {"product_id": product, "model_version": "5", "base_value": 0.5, "features": ["level", "seasonal_level"]}
            | {"values": [None, 2.0], "contributions": [0.25, at / 10 - 0.75]}
            for at, product in enumerate(ids)
        ],
        schema=pa.schema(list(DEMAND_REASON_COLUMNS.items())),
    )


def reason_files(reasons: pa.Table) -> dict[str, bytes | None]:
    """The file of a release that tells why products have their forecasts."""
    with TemporaryDirectory() as folder:
        write_lists(Path(folder) / DEMAND_REASONS, reasons, DEMAND_REASON_COLUMNS)
        return {DEMAND_REASONS: (Path(folder) / DEMAND_REASONS).read_bytes()}


def demand_files(forecasts: pa.Table, advice: pa.Table | None) -> dict[str, bytes | None]:
    """The files about products' demand of a release."""
    card = make_card(name="demand_forecaster", version="5", features=FEATURES[:1])
    files: dict[str, bytes | None] = {DEMAND_CARD: card.model_dump_json().encode()}
    with TemporaryDirectory() as folder:
        for name, table in ((DEMAND, forecasts), (REORDER, advice)):
            if table is not None:
                write_products(Path(folder), name, table)
                files[name] = (Path(folder) / name).read_bytes()
    return files


def publish(
    settings: Settings,
    *,
    customers: pa.Table | None = None,
    effects: tuple[Effect, ...] = (),
    replaced: dict[str, bytes | None] | None = None,
    models: Mapping[str, str] | None = None,
) -> Manifest:
    """Release a shop's small contents; `replaced` gives files another content, or leaves them out.

    `models` are the versions of further models that it was made with. Each model that takes features gets its schema.
    """
    inputs = ReleaseInputs(
        as_of=AS_OF,
        window=(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        shop="simulated",
        snapshots={"published.fct_orders": 7},
        models={"churn_classifier": "3", "order_fraud": "2", **(models or {})},
        git_commit=None,
        checks=(),
    )
    shop = ShopCard(name="simulated", title="The simulated shop", currency="EUR")
    files: dict[str, bytes | None] = {
        CUSTOMERS: arrow_file(make_customers(["C1", "C2", "C3"]) if customers is None else customers),
        CHURN_MODEL: onnx_model(),
        CHURN_CARD: make_card().model_dump_json().encode(),
        FRAUD_MODEL: onnx_model(),
        FRAUD_CARD: make_fraud_card().model_dump_json().encode(),
        CARD_PAGE.format(name="churn_classifier"): CARD,
        "models/churn_classifier/gains.svg": PICTURE,
        EFFECTS_FILE: EFFECTS.dump_json(effects),
        SHOP: shop.model_dump_json().encode(),
        GOLDEN: Golden(requests=(GoldenRequest(name="any", path="/v1/release", answer={}),)).model_dump_json().encode(),
        **batch().files,
        **(replaced or {}),
    }
    with open_store(settings).creating(inputs, created_at=datetime(2026, 1, 5, tzinfo=UTC)) as draft:
        for name, content in {**schemas(files), **files}.items():
            if content is not None:
                (draft.path / name).parent.mkdir(parents=True, exist_ok=True)
                (draft.path / name).write_bytes(content)
    return draft.manifest


def schemas(files: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
    """The schema of what each model among the files of a release takes, by its file."""
    found: dict[str, bytes | None] = {}
    for name, content in files.items():
        model = name.removeprefix("models/").removesuffix(".json")
        asked = f"models/{model}.onnx", f"models/{model}.parameters.json"
        if content is not None and any(files.get(one) for one in asked) and name == f"models/{model}.json":
            try:
                schema = input_schema(ModelCard.model_validate_json(content))
            except ValidationError:  # a test has spoilt the card
                schema = {}
            found[SCHEMA_FILE.format(name=model)] = json.dumps(schema).encode()
    return found


@contextmanager
def service(settings: Settings, *, poll_seconds: float = 60.0) -> Iterator[httpx.Client]:
    """The service on a free port of the loopback; connections wait in the socket until it has started."""
    with serving(create_app(settings, poll_seconds=poll_seconds)) as client:
        yield client


@contextmanager
def serving(app: FastAPI, protocol: type[BoundedProtocol] = BoundedProtocol) -> Iterator[httpx.Client]:
    """`app` on a free port, behind the protocol that the process has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", server_header=False, http=protocol, ws="none"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def problem(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The problem document of a response, after holding its form against RFC 9457."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.content)
    assert document["status"] == status
    assert document["type"] == (f"urn:cartograph:problem:{kind}" if kind else "about:blank")
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == response.request.url.path
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in response.text
    return document
