"""Bodies of requests that a release answers: which features its models and policies take, only the release says.

They are made of what its cards declare, and not of a customer: the document is open to everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from api.services.release import LoadedRelease
from cartograph.releases.contents.causal import TreatmentPolicy
from cartograph.releases.contents.models import FeatureSpec, ModelCard

Value = bool | int | float
_FIXED = ("churn", "propensity", "order_fraud")


class Example(NamedTuple):
    """A body, and the model or question that the path names, None where it names none."""

    body: dict[str, Any]
    named: str | None = None


def with_examples(openapi: Mapping[str, Any], release: LoadedRelease) -> dict[str, Any]:
    """The OpenAPI document `openapi`, with examples that `release` answers in the place of its own.

    Of what the release has no model or policy for, they stay.
    """
    paths, components = dict(openapi["paths"]), dict(openapi["components"])
    components["schemas"] = dict(components["schemas"])
    for path, example in examples_of(release).items():
        operation = deepcopy(paths[path]["post"])
        paths[path] = {**paths[path], "post": operation}
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = components["schemas"][name] = dict(components["schemas"][name])
        schema["examples"] = [example.body]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["schema"]["examples"] = [example.named]
    return {**openapi, "paths": paths, "components": components}


def examples_of(release: LoadedRelease) -> dict[str, Example]:
    """By path, a request with features for each model and policy that the release has."""
    fixed = {name: model.card for name in _FIXED if (model := release.classifier(name))}
    own = {name: model.card for name, model in sorted(release.own.models.items())}
    found = {f"/v1/predict/{name}": _one(card) for name, card in fixed.items()}
    for name, card in [*own.items()][:1]:
        found["/v1/predict/{model}"] = _one(card, name)
    for name, card in [*fixed.items(), *own.items()][:1]:
        found["/v1/predict/{model}/batch"] = _two(card, name)
    if release.lifetime_values:
        card = release.lifetime_values.card
        found["/v1/predict/lifetime_value"] = _one(card)
        found["/v1/predict/lifetime_value/batch"] = _two(card)
    if release.policies:
        found["/v1/causal/policies/{question}/decision"] = _of_policy(release.policies[0])
    return found


def least_features(card: ModelCard) -> dict[str, Value]:
    """Of each feature of the model the least value that makes sense; without a least 0, or the greatest below."""
    return {feature.name: _least(feature) for feature in card.features}


def _one(card: ModelCard, named: str | None = None) -> Example:
    return Example({"features": least_features(card)}, named)


def _two(card: ModelCard, named: str | None = None) -> Example:
    return Example({"features": {name: [value] * 2 for name, value in least_features(card).items()}}, named)


def _of_policy(policy: TreatmentPolicy) -> Example:
    features = {feature.name: feature.missing for feature in policy.rule.features}
    return Example({"features": features, "cost": policy.rule.cost}, policy.name)


def _least(feature: FeatureSpec) -> Value:
    if feature.type == "boolean":
        return False
    is_whole = feature.type == "bigint"
    if feature.minimum is not None:
        return math.ceil(feature.minimum) if is_whole else feature.minimum
    most = min(0.0, feature.maximum or 0.0)
    return math.floor(most) if is_whole else most
