"""Holds a running service against its own OpenAPI document: what is sent is made by schemathesis, as are the checks.

The document cannot say which features a model takes, since a release decides that; here it is narrowed to the models of
the release that is served, so that what it allows must be answered and what it forbids must be refused.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

PROGRAM = Path(sys.executable).with_name("st")
TYPES = {"bigint": "integer", "double": "number", "boolean": "boolean"}
# The largest whole number that JSON readers agree on, and the largest 32-bit float.
LIMITS = {"bigint": 2**53 - 1, "double": 3.4028234663852886e38}

KEY = "X-API-Key"

CALENDARS = (
    *("/v1/orders/risk", "/v1/orders/{order_id}/outcomes"),
    *("/v1/predict/lifetime_value", "/v1/predict/lifetime_value/batch"),
)
"""Paths whose bodies are held against the release's date and against themselves, which no schema can say."""


class Held(NamedTuple):
    """How many requests were made, how many different failures were found, and what the tool says of them."""

    cases: int
    failures: int
    log: str


def hold(
    service: httpx.Client,
    folder: Path,
    known: Mapping[str, Sequence[str]],
    *,
    examples: int,
    by_stranger: bool = False,
    phases: Sequence[str] = ("examples", "coverage", "fuzzing"),
    seed: int = 7,
) -> Held:
    """Send requests of all kinds to each operation of `service`, `examples` of them drawn.

    Where `service` sends a key, so do they: with it what is valid must be answered, and without it, or with another,
    nothing may be. `by_stranger` sends none at all, and takes nothing but a 401 from what is not open to everybody.

    `known` are values of path parameters for which there is an answer: half of the requests have one of them. What the
    tool writes goes to `folder`.

    Raises:
        RuntimeError: the tool could not do its work.
    """
    document, config, report = (folder / name for name in ("openapi.json", "schemathesis.toml", "report.json"))
    cards = service.get("/v1/release").raise_for_status().json()["models"]
    policies = service.get("/v1/causal/policies").raise_for_status().json()["policies"]
    narrowed = narrow(service.get("/openapi.json").raise_for_status().json(), cards, policies)
    document.write_text(json.dumps(narrowed), encoding="utf-8")
    caller = None if by_stranger else service.headers.get(KEY)
    checks = _strangers(narrowed) if by_stranger else _answers(_paged(narrowed), is_guarded=caller is not None)
    config.write_text(_config(known, caller, checks), encoding="utf-8")
    command = [str(PROGRAM), "--config-file", str(config), "--no-color", "run", str(document)]
    command += ["--url", str(service.base_url), "--phases", ",".join(phases), "--max-examples", str(examples)]
    command += ["--seed", str(seed), "--generation-database", "none", "--continue-on-failure"]
    command += ["--warnings", "off", "--report-json-path", str(report)]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    log = ran.stdout + ran.stderr
    if not report.is_file():
        raise RuntimeError(log)
    found = json.loads(report.read_text(encoding="utf-8"))
    if found["errors"] or not found["complete"]:
        raise RuntimeError(log)
    return Held(found["test_cases"]["generated"], found["test_cases"]["unique_failures"], log)


def known_values(service: httpx.Client, customers: Sequence[str]) -> dict[str, list[str]]:
    """Values of path parameters for which `service` has an answer, as its lists name them; `customers` are given."""

    def listed(path: str, under: str, name: str) -> list[str]:
        answer = service.get(path)
        return [one[name] for one in answer.json()[under]] if answer.status_code == 200 else []

    found = {
        "customer_id": list(customers),
        "product_id": listed("/v1/reorder-advice", "advice", "product_id"),
        "question": listed("/v1/causal/policies", "policies", "name")[-1:],  # whose features `narrow` knows
        "name": listed("/v1/models", "models", "name") + listed("/v1/experiments", "experiments", "name"),
    }
    return {name: values[:20] for name, values in found.items() if values}


def narrow(
    document: Mapping[str, Any], cards: Sequence[Mapping[str, Any]], policies: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The OpenAPI `document`, in which features are those of the models and `policies` that the release has.

    A model is told by its card. Of several own models it is the last, and so it is of several policies.
    """
    narrowed = copy.deepcopy(dict(document))
    if policies:
        _narrow_decision(narrowed, policies[-1])
    models = {card["name"]: card["features"] for card in cards}
    columns = {name: _columns(features) for name, features in models.items()}
    rows = {name: features_schema(features) for name, features in models.items()}
    other = cards[-1]["name"] if cards else ""  # own models come last; one that is none is unknown there
    for path, schemas, model in (
        ("/v1/predict/churn", rows, "churn_classifier"),
        ("/v1/predict/propensity", rows, "purchase_propensity"),
        ("/v1/predict/lifetime_value", rows, "customer_lifetime_value"),
        ("/v1/predict/lifetime_value/batch", columns, "customer_lifetime_value"),
        ("/v1/predict/order_fraud", rows, "order_fraud"),
        ("/v1/predict/{model}", rows, other),
        ("/v1/predict/{model}/batch", columns, other),
    ):
        if path in narrowed["paths"] and model in models:
            content = narrowed["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            content.clear()
            content["schema"] = _closed({"features": schemas[model]})
    for path in ("/v1/predict/{model}", "/v1/predict/{model}/batch"):
        _call(narrowed, path, other)
    return narrowed


def _narrow_decision(document: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    asked = [feature["name"] for feature in policy["rule"]["features"]]
    body = document["components"]["schemas"]["DecisionRequest"]
    body.pop("examples", None)
    features = body["properties"]["features"]
    value = features.pop("additionalProperties")
    features |= _closed(dict.fromkeys(asked, value)) | {"examples": [dict.fromkeys(asked, 1)]}
    _call(document, "/v1/causal/policies/{question}/decision", policy["name"])


def _call(document: Mapping[str, Any], path: str, name: str) -> None:
    """Have the path's parameter be `name`: the document's own example may be one with other features."""
    (named,) = (one for one in document["paths"][path]["post"]["parameters"] if one["in"] == "path")
    named["schema"]["examples"] = [name]


def features_schema(features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of an object that has these features, as their specifications in a card say."""
    return _closed({feature["name"]: _value(feature) for feature in features})


def _value(feature: Mapping[str, Any]) -> dict[str, Any]:
    kind = TYPES[feature["type"]]
    schema: dict[str, Any] = {"type": [kind, "null"] if feature["nullable"] else kind}
    if kind != "boolean":
        limit = LIMITS[feature["type"]]
        low, high = feature["minimum"], feature["maximum"]
        schema |= {"minimum": -limit if low is None else low, "maximum": limit if high is None else high}
    return schema


def _columns(features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Likewise of lists of values, all of two: a schema cannot say that they are as long as each other."""
    two = {"type": "array", "minItems": 2, "maxItems": 2}
    return _closed({feature["name"]: two | {"items": _value(feature)} for feature in features})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _paged(document: Mapping[str, Any]) -> list[str]:
    """The paths that take a cursor: text that only an answer gives, so that any other is refused."""
    return [
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ()))
    ]


def _answers(paged: Sequence[str], *, is_guarded: bool) -> list[str]:
    """What whoever may ask must get: of what is valid an answer, or that there is none of such an id."""
    lines = [_expected("positive_data_acceptance", "2xx", "404", "409")]
    if not is_guarded:  # a service that asks nobody for a key on a laptop takes any
        lines += ["checks.ignored_auth.enabled = false"]
    for path in (*paged, *CALENDARS):
        lines += _of(path, _expected("positive_data_acceptance", "2xx", "404", "422"))
    return lines


def _strangers(document: Mapping[str, Any]) -> list[str]:
    """What a stranger must get: a 401, whatever it is that is asked for, be it valid, wrong or unknown."""
    checks = ("positive_data_acceptance", "negative_data_rejection")
    lines = []
    for path, operations in document["paths"].items():
        if any("security" in operation for operation in operations.values()):
            lines += _of(path, *(_expected(check, "401") for check in checks))
    return lines


def _of(path: str, *settings: str) -> list[str]:
    return ["[[operations]]", f"include-path = {json.dumps(path)}", *settings]


def _expected(check: str, *statuses: str) -> str:
    return f"checks.{check}.expected-statuses = {json.dumps(statuses)}"


def _config(known: Mapping[str, Sequence[str]], key: str | None, checks: Sequence[str]) -> str:
    """The tool's settings: TOML, whose strings are written as JSON writes them; `checks` begin with those of all.

    A `key` is told as what it is: a header that is merely sent would also be in the tool's own requests without one.
    """
    lines = [*checks]
    for name, values in known.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(list(values))}"]
    lines += ["[parameters]"]
    lines += [f'"path.{name}" = {{ dictionary = "{name}", probability = 0.5 }}' for name in known]
    if key is not None:
        lines += ["[auth.openapi.key]", f"api_key = {json.dumps(key)}"]
    return "\n".join([*lines, ""])
