"""Models: what each takes, how good it is, and by what its predictions are explained."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from cartograph.releases.contents.base import Content
from cartograph.releases.contents.files import SCHEMA_FILE

ONNX_INPUT = "features"
"""Name of a model's input: one row of float32 for each customer or order, NaN for null."""

ONNX_OUTPUT = "probabilities"
"""Name of a model's output: for each row the probabilities that it is not, and that it is, what the model predicts."""


class FeatureSpec(Content):
    """One input of a model. Values outside `minimum` and `maximum` (inclusive, where given) make no sense."""

    name: str = Field(examples=["recency_days"])
    type: Literal["bigint", "double", "boolean"]
    description: str = Field(examples=["Days since the latest order."])
    nullable: bool = Field(examples=[False])
    minimum: float | None = Field(None, examples=[0])
    maximum: float | None = Field(None, examples=[4000])


class Review(Content):
    """When to look at a case: when the probability times the feature `amount` is above the `cost` of a look."""

    amount: str = Field(examples=["total_amount"])
    cost: float = Field(gt=0, examples=[5.0])


class ModelCard(Content):
    """`models/<name>.json`: what a model takes and how good it is on its holdout.

    `features` are in the order of the model's input; one that takes purchases has none. `metrics` and
    `baseline_metrics` hold the same measures, of the model and of its named baselines as `<baseline>.<measure>` or
    plain. A model that decides has a `review`.
    """

    name: str = Field(examples=["churn_classifier"])
    version: str = Field(examples=["3"])
    as_of: date = Field(examples=["2025-12-01"])
    features: tuple[FeatureSpec, ...]
    metrics: dict[str, float] = Field(examples=[{"auc": 0.87}])
    baseline_metrics: dict[str, float] = Field(examples=[{"recency_rule.auc": 0.8}])
    review: Review | None = None

    @model_validator(mode="after")
    def _features_fit(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError(f"each feature must be listed once, got {', '.join(names)}")
        if self.review is not None and self.review.amount not in names:
            raise ValueError(f"review needs the feature {self.review.amount}, got {', '.join(names)}")
        return self


class TreeNodes(Content):
    """The nodes of all trees of a model, an entry of each list for each; children come after their parent.

    `feature` is the column that a node asks of, None of a leaf, which adds `value`. Up to `threshold` a row goes to
    the node at `left`, above it to `right`, and where the feature is null to `left` if `null_left`. `share` is the
    part of the rows at a tree's `roots` that come to the node: above 0 for each, so that none is impossible.
    """

    roots: tuple[int, ...] = Field(min_length=1)
    feature: tuple[int | None, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    null_left: tuple[bool, ...]
    value: tuple[float, ...]
    share: tuple[float, ...]

    @model_validator(mode="after")
    def _are_trees(self) -> Self:
        nodes = len(self.feature)
        lists = (self.threshold, self.left, self.right, self.null_left, self.value, self.share)
        if any(len(one) != nodes for one in lists):
            raise ValueError("each list of nodes must have as many entries")
        found = list(self.roots)
        for at, feature in enumerate(self.feature):
            if not 0 < self.share[at] <= 1:
                raise ValueError("a node's share must be above 0 and at most 1")
            if feature is not None:
                found += (self.left[at], self.right[at])
                if min(self.left[at], self.right[at]) <= at:
                    raise ValueError("a node must come before its children")
        if sorted(found) != list(range(nodes)):
            raise ValueError("each node must be a root or the child of one other")
        return self


class Explainer(Content):
    """`models/<name>.explanation.json`: by what a model's predictions are split among its features.

    With `trees` the prediction is `offset` plus `scale` times what the leaves of the trees add, and is split by the
    shares of rows that go each way. Without, it is split against the row `reference`, of features in the order of the
    model's card with None for null: a typical customer or order.
    """

    features: tuple[str, ...]
    reference: tuple[float | None, ...]
    scale: float = 1.0
    offset: float = 0.0
    trees: TreeNodes | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.reference) != len(self.features):
            raise ValueError(f"{len(self.features)} features need as many values of a reference")
        if self.trees and any(not 0 <= one < len(self.features) for one in self.trees.feature if one is not None):
            raise ValueError(f"the trees ask of a feature that is none of the {len(self.features)}")
        return self


def input_schema(card: ModelCard) -> dict[str, Any]:
    """The JSON schema (2020-12) of the `features` that a POST to the model takes: exactly those of its card."""
    types = {"bigint": "integer", "double": "number", "boolean": "boolean"}
    properties: dict[str, Any] = {}
    for feature in card.features:
        kind = types[feature.type]
        properties[feature.name] = {
            "type": [kind, "null"] if feature.nullable else kind,
            "description": feature.description,
            **({} if feature.minimum is None else {"minimum": feature.minimum}),
            **({} if feature.maximum is None else {"maximum": feature.maximum}),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Features of {card.name}, version {card.version}",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def write_schema(folder: Path, card: ModelCard) -> None:
    """Write the JSON schema of a model's input into the release in `folder`."""
    path = folder / SCHEMA_FILE.format(name=card.name)
    path.write_text(json.dumps(input_schema(card), indent=2), encoding="utf-8")
