"""How fast is the service, side by side with FastAPI that does nothing and with MLflow's server of the same model?

Each is a process of one worker on loopback, with its log at WARNING; ours serves a shop's release as `python -m api`. A
round gives each endpoint a few seconds of as many requests as it takes; a ratio is the median over rounds of what two
endpoints did in the same round, so a machine that others use, too, slows both. `per_cpu_second` counts requests by the
processor time of the server alone. Then requests come at half of that rate, and their latency counts from when they
were due. Features, customers and lists are the release's own. Prints JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from support.load import LoadError, at_rate, request, saturate
from support.served import Served, api, customer_ids, free_port, home_of_shop, release_folder, served

EMPTY = Path(__file__).parent / "support" / "empty_service.py"
BARS = {"predict_churn": 0.7, "customer": 0.8, "recommendations": 0.8}
"""The least ratio to the empty endpoint of the same parameters and body."""
MLFLOW_BAR, P99_BAR_MS, BATCH_ROWS, BATCH_BAR = 10, 15.0, 1_000, 200_000
DIFFERENT = 500
"""How many different requests an endpoint is sent in turn."""


class Endpoint(NamedTuple):
    """What is asked of which server."""

    name: str
    server: Served
    requests: Sequence[bytes]


class Rate(NamedTuple):
    """Requests per second, and per second of the server's processor time."""

    per_second: float
    per_cpu_second: float


def main() -> None:
    """Measure all endpoints and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="Of a shop that has a release; by default one is made.")
    parser.add_argument("--seconds", type=float, default=4.0, help="Of one endpoint in one round.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--without-mlflow", action="store_true", help="MLflow takes long to start.")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        environment = stack.enter_context(home_of_shop(chosen.home))
        ports = [free_port() for _ in range(3)]
        own = stack.enter_context(served([sys.executable, "-m", "api"], api(environment, ports[0]), ports[0]))
        empty = stack.enter_context(served([sys.executable, str(EMPTY), str(ports[1])], environment, ports[1]))
        rows = given_features(own, customer_ids(environment, DIFFERENT))
        ours = own_requests(own, customer_ids(environment, DIFFERENT), rows)
        endpoints = [Endpoint(name, own, requests) for name, requests in ours.items()]
        endpoints += [Endpoint(f"empty.{name}", empty, ours[name]) for name in BARS]
        if not chosen.without_mlflow:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            command = mlflow_command(release_folder(environment) / "models" / "churn_classifier.onnx", folder, ports[2])
            found_uvicorn = {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "UVICORN_LOG_LEVEL": "warning",
            }
            mlflow = stack.enter_context(served(command, environment | found_uvicorn, ports[2], "/ping"))
            endpoints.append(Endpoint("mlflow", mlflow, mlflow_requests(rows)))
        found = measured(endpoints, chosen.rounds, chosen.seconds, chosen.connections)
        for line in compared(found):
            print(json.dumps(line), flush=True)
        for endpoint in endpoints[: len(BARS)]:
            print(json.dumps(latency(endpoint, empty, chosen.seconds, chosen.connections)), flush=True)


def given_features(own: Served, customers: Sequence[str]) -> list[dict[str, Any]]:
    """The features that the churn model takes, of those among the customers that have all that it asks for."""
    with httpx.Client(base_url=own.url) as client:
        cards = client.get("/v1/release").raise_for_status().json()["models"]
        card = next(card for card in cards if card["name"] == "churn_classifier")
        needed = {feature["name"]: feature["nullable"] for feature in card["features"]}
        known = [client.get(f"/v1/customers/{one}").raise_for_status().json()["features"] for one in customers]
    rows = [{name: features.get(name) for name in needed} for features in known]
    return [row for row in rows if all(row[name] is not None or may for name, may in needed.items())]


def own_requests(own: Served, customers: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[bytes]]:
    """The requests to our service by endpoint: first those that have a bar against the empty service."""
    found = {
        "predict_churn": [request("POST", "/v1/predict/churn", {"features": row}) for row in rows],
        "customer": [request("GET", f"/v1/customers/{one}") for one in customers],
        "recommendations": [request("GET", f"/v1/customers/{one}/recommendations") for one in customers],
    }
    with httpx.Client(base_url=own.url) as client:
        paths = client.get("/openapi.json").raise_for_status().json()["paths"]
    if "/v1/predict/{model}/batch" in paths:
        many = [rows[at % len(rows)] for at in range(BATCH_ROWS)]
        columns = {name: [row[name] for row in many] for name in rows[0]}
        found["batch"] = [request("POST", "/v1/predict/churn/batch", {"features": columns})]
    return found


def mlflow_command(model: Path, folder: str, port: int) -> list[str]:
    """The command that serves the same ONNX model by MLflow on `port`, in this environment."""
    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]))
    saved = f"{folder}/model"
    mlflow.onnx.save_model(onnx.load(model), saved, signature=signature, pip_requirements=[])
    program = str(Path(sys.executable).with_name("mlflow"))
    return [program, "models", "serve", "-m", saved, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]


def mlflow_requests(rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """The same features as MLflow takes them: numbers in the model's order."""
    values = [[float("nan") if value is None else float(value) for value in row.values()] for row in rows]
    return [request("POST", "/invocations", {"inputs": [row]}) for row in values]


def measured(endpoints: Sequence[Endpoint], rounds: int, seconds: float, connections: int) -> dict[str, list[Rate]]:
    """The rates of each endpoint, round by round; a short round before them is not counted."""
    rates: dict[str, list[Rate]] = {endpoint.name: [] for endpoint in endpoints}
    for endpoint in endpoints:
        saturate(endpoint.server.port, endpoint.requests, seconds / 4, connections)
    for at in range(rounds):
        for endpoint in endpoints if at % 2 else reversed(endpoints):
            before = endpoint.server.cpu_seconds()
            rate = saturate(endpoint.server.port, endpoint.requests, seconds, connections)
            used = endpoint.server.cpu_seconds() - before
            rates[endpoint.name].append(Rate(rate, rate * seconds / used))
    return rates


def compared(rates: Mapping[str, Sequence[Rate]]) -> list[dict[str, Any]]:
    """A line for each endpoint of ours: its rates, and its ratios to what it is held against."""
    lines = []
    for name, own in rates.items():
        if name == "mlflow" or name.startswith("empty."):
            continue
        line: dict[str, Any] = {"benchmark": f"serving.{name}", **_medians(own)}
        if name in BARS:
            line |= _ratios("empty", own, rates[f"empty.{name}"], BARS[name])
        if name == "predict_churn" and "mlflow" in rates:
            line |= _ratios("mlflow", own, rates["mlflow"], MLFLOW_BAR)
        if name == "batch":
            line |= {"rows_per_second": round(line["per_second"] * BATCH_ROWS), "bar": BATCH_BAR}
            line["rows_per_cpu_second"] = round(line["per_cpu_second"] * BATCH_ROWS)
        lines.append(line)
    return lines


def latency(endpoint: Endpoint, empty: Served, seconds: float, connections: int) -> dict[str, Any]:
    """The line of an endpoint's latency at half of what it can take right now, with the empty service's at that rate.

    `failed` stands for them where a server did not keep up.
    """
    rate = saturate(endpoint.server.port, endpoint.requests, seconds, connections) / 2
    line: dict[str, Any] = {"benchmark": f"serving.{endpoint.name}.latency", "rate": round(rate), "bar_ms": P99_BAR_MS}
    try:
        own, other = (
            at_rate(server.port, endpoint.requests, rate, seconds * 2, connections)
            for server in (endpoint.server, empty)
        )
    except LoadError as error:
        return {**line, "failed": str(error)}
    found = {"p50_ms": own.p50, "p99_ms": own.p99, "empty_p50_ms": other.p50, "empty_p99_ms": other.p99}
    return line | {name: round(value, 2) for name, value in found.items()}


def _medians(rates: Sequence[Rate]) -> dict[str, float]:
    return {name: round(statistics.median(getattr(rate, name) for rate in rates), 1) for name in Rate._fields}


def _ratios(of: str, own: Sequence[Rate], other: Sequence[Rate], bar: float) -> dict[str, Any]:
    pairs = list(zip(own, other, strict=True))
    ratio = statistics.median(one.per_second / two.per_second for one, two in pairs)
    by_cpu = statistics.median(one.per_cpu_second / two.per_cpu_second for one, two in pairs)
    return {
        f"to_{of}": round(ratio, 3),
        f"to_{of}_by_cpu": round(by_cpu, 3),
        f"{of}_bar": bar,
        **{f"{of}_{name}": value for name, value in _medians(other).items()},
    }


if __name__ == "__main__":
    main()
