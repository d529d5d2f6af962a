"""What holds for every endpoint: the OpenAPI document, the errors' form, the headers, and the process itself."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST

from api.main import create_app
from cartograph.settings import Settings
from tests.api.making import problem, publish, service
from tests.api.swapping import release


def guarded(name: str) -> set[str]:
    """The statuses by which the guard answers a request of this method and path."""
    everywhere = {"421"}
    if name in {"GET /health", "GET /ready"}:
        return everywhere
    of_bodies = {"400", "408", "413", "415", "422"} if name.startswith("POST") else set()
    return everywhere | {"401", "403", "429", "503"} | of_bodies


def tagged(name: str) -> set[str]:
    """The status by which who holds the answer is told so: of all that is read from a release."""
    return {"304"} if name.startswith("GET /v1/") and not name.startswith("GET /v1/admin") else set()


def test_every_endpoint_is_documented_with_its_errors(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    statuses = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    own = {
        "GET /health": {"200"},
        "GET /ready": {"200", "503"},
        "GET /metrics": {"200"},
        "GET /v1/release": {"200", "422", "503"},
        "GET /v1/customers": {"200", "422", "503"},
        "GET /v1/customers/{customer_id}": {"200", "404", "422", "503"},
        "GET /v1/customers/{customer_id}/recommendations": {"200", "404", "422", "503"},
        "GET /v1/products": {"200", "404", "422", "503"},
        "GET /v1/products/{product_id}": {"200", "404", "422", "503"},
        "GET /v1/products/{product_id}/similar": {"200", "404", "422", "503"},
        "POST /v1/recommendations/session": {"200", "404", "413", "422", "503"},
        "GET /v1/products/{product_id}/demand": {"200", "404", "422", "503"},
        "GET /v1/products/{product_id}/explanations/demand": {"200", "404", "422", "503"},
        "GET /v1/products/{product_id}/reorder": {"200", "404", "422", "503"},
        "GET /v1/reorder-advice": {"200", "404", "422", "503"},
        "POST /v1/predict/churn": {"200", "404", "413", "422", "503"},
        "POST /v1/predict/propensity": {"200", "404", "413", "422", "503"},
        "POST /v1/predict/lifetime_value": {"200", "404", "413", "422", "503"},
        "POST /v1/predict/lifetime_value/batch": {"200", "404", "413", "422", "503"},
        "POST /v1/predict/{model}/batch": {"200", "404", "413", "422", "503"},
        "GET /v1/customers/{customer_id}/explanations/{model}": {"200", "404", "422", "503"},
        "POST /v1/predict/{model}": {"200", "404", "413", "422", "503"},
        "POST /v1/predict/order_fraud": {"200", "404", "413", "422", "503"},
        "POST /v1/orders/risk": {"200", "404", "413", "422", "503"},
        "POST /v1/events": {"202", "404", "413", "422", "503"},
        "POST /v1/orders/{order_id}/outcomes": {"200", "404", "413", "422", "503"},
        "POST /v1/recommendations/basket": {"200", "404", "413", "422", "503"},
        "GET /v1/causal/effects": {"200", "422", "503"},
        "GET /v1/causal/effects/{question}": {"200", "404", "422", "503"},
        "GET /v1/causal/effects/{question}/{picture}.svg": {"200", "404", "422", "503"},
        "GET /v1/causal/policies": {"200", "422", "503"},
        "POST /v1/causal/policies/{question}/decision": {"200", "404", "413", "422", "503"},
        "GET /v1/causal/policies/{question}/customers/{customer_id}": {"200", "404", "422", "503"},
        "GET /v1/causal/budget": {"200", "422", "503"},
        "GET /v1/experiments": {"200", "422", "503"},
        "GET /v1/experiments/{name}": {"200", "404", "422", "503"},
        "GET /v1/experiments/{name}/{picture}.svg": {"200", "404", "422", "503"},
        "GET /v1/models": {"200", "422", "503"},
        "GET /v1/models/{name}/schema": {"200", "404", "422", "503"},
        "GET /v1/kpis": {"200", "404", "422", "503"},
        "GET /v1/kpis/{name}": {"200", "404", "422", "503"},
        "GET /v1/lineage/{answer}": {"200", "404", "422", "503"},
        "GET /v1/models/{name}/card": {"200", "404", "422", "503"},
        "GET /v1/models/{name}/{picture}.svg": {"200", "404", "422", "503"},
        "GET /v1/admin/releases": {"200", "422", "503"},
        "POST /v1/admin/releases/{release_id}/activate": {"200", "404", "409", "422", "503"},
        "POST /v1/admin/releases/{release_id}/rollback": {"200", "404", "409", "422", "503"},
    }
    assert statuses == {name: answers | guarded(name) | tagged(name) for name, answers in own.items()}
    named = [operation["operationId"] for operations in document["paths"].values() for operation in operations.values()]
    assert len(set(named)) == len(named)
    assert "get_customer" in named
    texts = {
        "/metrics": CONTENT_TYPE_LATEST,
        "/v1/models/{name}/card": "text/markdown",
        "/v1/models/{name}/{picture}.svg": "image/svg+xml",
        "/v1/causal/effects/{question}/{picture}.svg": "image/svg+xml",
        "/v1/experiments/{name}/{picture}.svg": "image/svg+xml",
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"]
            for status, response in operation["responses"].items():
                if status == "304":  # it has no body
                    continue
                answer = texts.get(path, "application/json") if int(status) < 300 else "application/problem+json"
                assert list(response["content"]) == [answer], path
    assert "HTTPValidationError" not in str(document["paths"])
    assert document["components"]["schemas"]["Problem"]["example"]["status"] == 404


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_of_the_documentation_load_nothing_from_elsewhere(client: httpx.Client, path: str) -> None:
    page = client.get(path).raise_for_status().text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(part.endswith(".js") for part in parts)
    for part in parts:
        assert part.startswith("/")
        assert client.get(part).status_code == 200, part


def test_a_parameter_that_a_route_does_not_take_is_named(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    asked = [(method, path) for path, operations in paths.items() for method in operations if path.startswith("/v1/")]
    assert len(asked) > 30
    for method, path in asked:
        place = re.sub(r"{[^}]+}", "x", path)
        answer = client.request(method, place, params={"no_such": "1"}, json={} if method == "post" else None)
        (part,) = problem(answer, 422, "invalid-request")["errors"]
        assert part["parameter"] == "no_such", path
        assert "there is no such parameter; it takes" in part["detail"]
    twice = problem(client.get("/v1/customers?limit=2&cursor=&limit=3&limit=4"), 422, "invalid-request")
    assert [(one["parameter"], one["detail"]) for one in twice["errors"]] == [("limit", "it is there more than once")]
    problem(client.get("/v1/kpis/orders?from=2025-01-01&from=2025-03-01"), 422, "invalid-request")
    misspelt = problem(client.get("/v1/customers", params={"limt": "2"}), 422, "invalid-request")
    assert "it takes limit, cursor" in misspelt["errors"][0]["detail"]
    assert client.get("/health", params={"no_such": "1"}).status_code == 200, "probes may ask as they like"


def test_unknown_paths_and_methods_are_problems(client: httpx.Client) -> None:
    problem(client.get("/v1/nothing"), 404)
    problem(client.get("/"), 404)
    refused = client.delete("/v1/release")
    problem(refused, 405)
    assert refused.headers["allow"] == "GET"


def test_answers_carry_the_security_headers(client: httpx.Client) -> None:
    headers = client.get("/health").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"


def test_a_fault_of_the_service_is_a_problem_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    monkeypatch.setattr("api.services.customers.Customers.find", lambda *_: 1 / 0)
    with service(settings) as client:
        answer = client.get("/v1/customers/C1")
    assert "ZeroDivision" not in answer.text
    assert "its log says why" in problem(answer, 500)["detail"]


def test_a_wrong_place_for_releases_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CARTOGRAPH_RELEASE_URI=s3://A_Bucket/simulated"):
        create_app(Settings(home=tmp_path, release_uri="s3://A_Bucket"))


def start(tmp_path: Path, port: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "CARTOGRAPH_HOME": str(tmp_path), "CARTOGRAPH_API_PORT": port, **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "api"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # so that a test can end what a killed parent leaves
    )


def test_the_process_listens_where_the_settings_say_and_ends_when_interrupted(tmp_path: Path) -> None:
    publish(Settings(home=tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(tmp_path, str(port))
    try:
        assert process.stderr is not None
        seen = ""
        while "running on" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
        assert process.returncode in {0, -signal.SIGINT}
        assert "Traceback" not in seen + rest
    finally:
        process.kill()


def test_several_processes_answer_and_follow_one_activation(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first, second = (release(settings, version).release_id for version in ("first", "second"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = start(tmp_path, str(port), CARTOGRAPH_API_WORKERS="2")
    url = f"http://127.0.0.1:{port}"
    try:
        assert process.stderr is not None
        started = 0
        while started < 2:
            line = process.stderr.readline()
            assert line
            started += "startup complete" in line
        assert {httpx.get(f"{url}/ready").json()["release_id"] for _ in range(20)} == {second}
        httpx.post(f"{url}/v1/admin/releases/{first}/activate", timeout=30).raise_for_status()
        deadline = monotonic() + 30
        while {httpx.get(f"{url}/ready").json()["release_id"] for _ in range(20)} != {first}:
            assert monotonic() < deadline, "a process stays behind"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()


def test_a_wrong_setting_ends_the_process_with_its_message(tmp_path: Path) -> None:
    process = start(tmp_path, "seventy")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("CARTOGRAPH_API_PORT=seventy")
    assert "Traceback" not in said


def test_trusted_keys_that_cannot_be_read_end_the_process_with_a_message(tmp_path: Path) -> None:
    process = start(tmp_path, "8000", CARTOGRAPH_RELEASE_TRUSTED_KEYS="/nowhere")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("CARTOGRAPH_RELEASE_TRUSTED_KEYS=/nowhere")
    assert "Traceback" not in said
