"""The files of a shop's release: their names and their schemas, which the release asset writes and the API reads.

Both sides share this module so that they cannot drift. How a release is stored is the rest of `cartograph.releases`;
how features, models and effects are computed is `ml_assets`.

| file | content |
|---|---|
| `shop.json` | `ShopCard` |
| `customers.arrow` | Arrow IPC file: one row for each customer, see `write_customers` and `mark_personal` |
| `models/churn_classifier.onnx` | the model: input `features` float32 [n, k], output `probabilities` [n, 2] |
| `models/churn_classifier.json` | `ModelCard`: the model's features in the order of its input, and its metrics |
| `models/order_fraud.onnx`, `models/order_fraud.json` | likewise: the model of `POST /v1/orders/risk` |
| `models/purchase_propensity.onnx`, `models/purchase_propensity.json` | likewise: of `POST /v1/predict/propensity` |
| `models/customer_lifetime_value.parameters.json` | the fitted model as `ml_assets.core` reads it: numbers and dates |
| `models/customer_lifetime_value.json` | `ModelCard` of it |
| `models/<name>.explanation.json` | `Explainer`: by what the model's predictions are split among its features |
| `models/product_recommender.arrow` | Arrow IPC file: a row for each product, which `ml_assets.core` reads and scores |
| `models/product_recommender.json` | `ModelCard`, without features |
| `recommendations.arrow` | Arrow IPC file: one row for each customer, see `RECOMMENDATION_COLUMNS` |
| `similar_products.arrow` | Arrow IPC file: one row for each product, see `SIMILAR_COLUMNS` |
| `demand.arrow` | Arrow IPC file: one row for each product and day ahead, `DEMAND_COLUMNS`, see `write_products` |
| `models/demand_forecaster.json` | `ModelCard` of what made it |
| `reorder.arrow` | Arrow IPC file: one row for each product whose stock is known, `REORDER_COLUMNS` |
| | all of a model are absent where the shop's history, or what it delivers, is too little for it |
| `models/<name>/card.md` | the card of each model for people; its pictures are the SVG files in the same folder |
| `models/<name>.onnx`, `models/<name>.json` | a shop's own model likewise: of `POST /v1/predict/<name>` |
| `predictions.arrow` | Arrow IPC file: one row for each customer of whom one was asked, see `PREDICTION_COLUMNS` |
| `effects.json` | `EFFECTS`: a list of `Effect`, one for each causal question that the shop has the data for |
| `causal/<question>/memo.md` | the decision memo of each; its pictures are the SVG files in the same folder |
| `policies.json` | `POLICIES`: a list of `TreatmentPolicy`; absent where no question has one |
| `budget.json` | `Budget`: absent where the shop's spend on paid channels does not show what it does |
| `kpis.json` | `KPI_LIST`: a list of `Kpi`, the figures that the shop has; absent without a day, as the files below |
| `kpis.arrow` | Arrow IPC file: a row for each dimension, value and day, see `KPI_COLUMNS` |
| `kpi_customers.arrow` | likewise, what customers are counted from, see `KPI_CUSTOMER_COLUMNS` |
| `lineage.json` | `Lineage`: the assets that the release is made of, and what each is made of |
| `experiments.json` | `EXPERIMENTS`: a list of `ExperimentResult`; absent where the shop has no experiment |
| `experiments/<name>/memo.md` | the memo of each; its pictures are the SVG files in the same folder |
| `models/<name>.schema.json` | the JSON schema of what each model of a POST takes, see `input_schema` |
| `golden.json` | `Golden`: requests, and what the service must answer to them before it serves the release |
| `order_history.arrow` | what the fraud model's features are made of, by keys: `cartograph.releases.order_history` |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from cartograph.contracts import Pii
from cartograph.releases.rows import ROW, row_schema, with_rows

SHOP = "shop.json"
CUSTOMERS = "customers.arrow"
CHURN_MODEL = "models/churn_classifier.onnx"
CHURN_CARD = "models/churn_classifier.json"
FRAUD_MODEL = "models/order_fraud.onnx"
FRAUD_CARD = "models/order_fraud.json"
PROPENSITY_MODEL = "models/purchase_propensity.onnx"
PROPENSITY_CARD = "models/purchase_propensity.json"
CLV_MODEL = "models/customer_lifetime_value.parameters.json"
CLV_CARD = "models/customer_lifetime_value.json"
OWN_PREDICTIONS = "predictions.arrow"
RECOMMENDER = "models/product_recommender.arrow"
RECOMMENDER_CARD = "models/product_recommender.json"
RECOMMENDATIONS = "recommendations.arrow"
SIMILAR = "similar_products.arrow"
DEMAND = "demand.arrow"
DEMAND_CARD = "models/demand_forecaster.json"
REORDER = "reorder.arrow"
EFFECTS_FILE = "effects.json"
POLICIES_FILE = "policies.json"
BUDGET_FILE = "budget.json"
EXPERIMENTS_FILE = "experiments.json"
GOLDEN = "golden.json"
SCHEMA_FILE = "models/{name}.schema.json"
KPI_FILE = "kpis.json"
KPIS = "kpis.arrow"
KPI_CUSTOMERS = "kpi_customers.arrow"
LINEAGE_FILE = "lineage.json"
ORDER_HISTORY = "order_history.arrow"
CARD_PAGE = "models/{name}/card.md"
MEMO_PAGE = "causal/{name}/memo.md"
EXPERIMENT_PAGE = "experiments/{name}/memo.md"

_PERSONAL = b"pii"
"""Key of a field's metadata in an Arrow file: the kind of personal data in that column."""

LISTED = 20
"""A list of recommended or similar products has at most so many."""

ONNX_INPUT = "features"
"""Name of a model's input: one row of float32 for each customer or order, NaN for null."""
ONNX_OUTPUT = "probabilities"
"""Name of a model's output: for each row the probabilities that it is not, and that it is, what the model predicts."""

CUSTOMER_COLUMNS = {
    "customer_id": pa.string(),
    "as_of": pa.date32(),
    "segment": pa.string(),
    "churn_probability": pa.float64(),
    "churn_model_version": pa.string(),
    "purchase_probability": pa.float64(),
    "propensity_model_version": pa.string(),
    "segment_number": pa.int64(),
    "behaviour_segment": pa.string(),
    "segments_model_version": pa.string(),
    "alive_probability": pa.float64(),
    "expected_orders_365d": pa.float64(),
    "expected_revenue_365d": pa.float64(),
    "lifetime_value_amount": pa.float64(),
    "clv_model_version": pa.string(),
    "next_action": pa.string(),
    "next_action_reason": pa.string(),
    "added_margin_amount": pa.float64(),
    "added_margin_low": pa.float64(),
    "added_margin_high": pa.float64(),
    "uplift_model_version": pa.string(),
    "policies": pa.list_(pa.string()),
}
"""Columns of `customers.arrow` that are not features. All but `customer_id` and `as_of` may be null, and a release
that was made before a column was known does not have it.

`policies` are the names of the released policies that are about the customer: who is in the population of their
question. SQL decides that where the release is made, so that the service need not run any."""

RECOMMENDATION_COLUMNS = {
    "customer_id": pa.string(),
    "model_version": pa.string(),
    "product_ids": pa.list_(pa.string()),
    "scores": pa.list_(pa.float64()),
    "sources": pa.list_(pa.string()),
    "because_product_ids": pa.list_(pa.string()),
}
"""Columns of `recommendations.arrow`: the lists have an entry for each product that is recommended, the best first."""

PREDICTION_COLUMNS = {
    "customer_id": pa.string(),
    "models": pa.list_(pa.string()),
    "model_versions": pa.list_(pa.string()),
    "probabilities": pa.list_(pa.float64()),
}
"""Columns of `predictions.arrow`: the lists have an entry for each of the shop's own models that has a prediction."""

SIMILAR_COLUMNS = {
    "product_id": pa.string(),
    "model_version": pa.string(),
    "similar_product_ids": pa.list_(pa.string()),
    "similar_scores": pa.list_(pa.float64()),
    "similar_sources": pa.list_(pa.string()),
    "bought_together_product_ids": pa.list_(pa.string()),
    "bought_together_scores": pa.list_(pa.float64()),
}
"""Columns of `similar_products.arrow`: products that its purchase leads to, and those often in the same order."""

DEMAND_COLUMNS = {
    "product_id": pa.string(),
    "as_of": pa.date32(),
    "date": pa.date32(),
    "mean": pa.float64(),
    "low": pa.float64(),
    "p25": pa.float64(),
    "median": pa.float64(),
    "p75": pa.float64(),
    "high": pa.float64(),
    "model_version": pa.string(),
}
"""Columns of `demand.arrow`, in units; 90 % of such days lie from `low` to `high`. None is null."""

REORDER_COLUMNS = {
    "product_id": pa.string(),
    "as_of": pa.date32(),
    "lead_days": pa.int64(),
    "review_days": pa.int64(),
    "service_level": pa.float64(),
    "expected_demand": pa.float64(),
    "reorder_point": pa.float64(),
    "safety_stock": pa.float64(),
    "stock": pa.float64(),
    "order_quantity": pa.float64(),
    "model_version": pa.string(),
}
"""Columns of `reorder.arrow`; demand is that over lead and review time, in units as all quantities. None is null."""

_KPI_KEY = {"dimension": pa.string(), "value": pa.string(), "date": pa.date32()}
_AMOUNTS = ("revenue", "gross", "discounts", "shipping", "refunds", "sales", "margin")
_COUNTS = ("orders", "units", "sessions", "bounces", "purchase_sessions")
KPI_COLUMNS = {**_KPI_KEY, **dict.fromkeys((*_AMOUNTS, *_COUNTS), pa.int64())}
"""Columns of `kpis.arrow`; amounts are in hundredths of the shop's currency, so that they add up exactly. None is null.

The value of the dimension `total` is `all`."""

KPI_CUSTOMER_COLUMNS = {**_KPI_KEY, "previous_date": pa.date32(), "customers": pa.int64()}
"""Columns of `kpi_customers.arrow`: customers with an order on `date`, by the day of their order before; none is null.

The day before of a first order is 1900-01-01. The customers of a range of days are the rows of its days whose day
before lies ahead of it."""

PRODUCT_FILES = {DEMAND: (DEMAND_COLUMNS, ("product_id", "date")), REORDER: (REORDER_COLUMNS, ("product_id",))}
"""The files about products: their columns, and by which of these they are sorted, each combination once."""


def own_model_files(name: str) -> tuple[str, str]:
    """The files of a shop's own model: the model and its card."""
    return f"models/{name}.onnx", f"models/{name}.json"


def explanation_file(name: str) -> str:
    """The file that splits the predictions of the model `name` among its features; a release of before has none."""
    return f"models/{name}.explanation.json"


class ContentError(ValueError):
    """A file of a release does not have the form that this module gives it."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ShopCard(_Content):
    """`shop.json`: which shop the release is about."""

    name: str = Field(examples=["simulated"])
    title: str = Field(examples=["The simulated shop"])
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["EUR"])


class FeatureSpec(_Content):
    """One input of a model. Values outside `minimum` and `maximum` (inclusive, where given) make no sense."""

    name: str = Field(examples=["recency_days"])
    type: Literal["bigint", "double", "boolean"]
    description: str = Field(examples=["Days since the latest order."])
    nullable: bool = Field(examples=[False])
    minimum: float | None = Field(None, examples=[0])
    maximum: float | None = Field(None, examples=[4000])


class Review(_Content):
    """When to look at a case: when the probability times the feature `amount` is above the `cost` of a look."""

    amount: str = Field(examples=["total_amount"])
    cost: float = Field(gt=0, examples=[5.0])


class ModelCard(_Content):
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


class GoldenRequest(_Content):
    """A request, and what the answer must be, found without the service's own code.

    Of objects in `answer` the members must be as here, and there may be more; lists are whole. Numbers are exact, or
    where a model is run, within `tolerance`: its sums of float32 depend on the processor.
    """

    name: str
    method: Literal["GET", "POST"] = "GET"
    path: str
    body: dict[str, Any] | None = None
    status: int = 200
    answer: dict[str, Any]
    tolerance: float = Field(0.0, ge=0)


class Golden(_Content):
    """`golden.json`: what a release must answer. Each answer must name the release, too."""

    requests: tuple[GoldenRequest, ...]

    def renamed(self, names: Mapping[str, str]) -> Golden:
        """The same of customers who have other ids: the new by the old in `names`."""
        quoted = {quote(old, safe=""): quote(new, safe="") for old, new in names.items()}
        return Golden(
            requests=tuple(
                one.model_copy(
                    update={
                        "path": "/".join(quoted.get(part, part) for part in one.path.split("/")),
                        "body": _renamed(one.body, names),
                        "answer": _renamed(one.answer, names),
                    }
                )
                for one in self.requests
            )
        )


class TreeNodes(_Content):
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


class Explainer(_Content):
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


class EffectCheck(_Content):
    """One test of an estimate: overlap, balance, a placebo."""

    name: str = Field(examples=["overlap"])
    passed: bool = Field(examples=[True])
    detail: str = Field(examples=["99 % in [0.02, 0.98]"])


class Effect(_Content):
    """The answer to one causal question, or why there is none.

    `name` is that of the question's file; empty in releases of before there were such. `estimate`, `ci_low` and
    `ci_high` are in `unit`, the interval at `confidence_level` (0.95 for 95 %). With the verdict `not identified` they
    are None, and `reasons` says in words why: releases of before showed them as a warning, which is left out.
    """

    name: str = Field("", examples=["email_spring_spend"])
    question: str = Field(examples=["Did the spring e-mail make customers spend more?"])
    treatment: str = Field(examples=["got the spring e-mail"])
    outcome: str = Field(examples=["spend_30d"])
    estimand: str = Field(examples=["ATT"])
    unit: str = Field(examples=["EUR per customer"])
    estimate: float | None = Field(examples=[4.2])
    ci_low: float | None = Field(examples=[3.1])
    ci_high: float | None = Field(examples=[5.3])
    confidence_level: float = Field(gt=0, lt=1, examples=[0.95])
    n_treated: int = Field(ge=0, examples=[900])
    n_control: int = Field(ge=0, examples=[950])
    checks: tuple[EffectCheck, ...]
    verdict: Literal["identified", "not identified"]
    reasons: tuple[str, ...] = ()
    as_of: date = Field(examples=["2026-01-01"])
    method: str = Field(examples=["LinearDML"])

    @model_validator(mode="before")
    @classmethod
    def _refused_has_none(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("verdict") == "not identified":
            return {**content, "estimate": None, "ci_low": None, "ci_high": None}
        return content


EFFECTS = TypeAdapter(tuple[Effect, ...])


class Estimated(_Content):
    """A figure with its 95 % interval."""

    value: float = Field(examples=[4.2])
    low: float = Field(examples=[3.1])
    high: float = Field(examples=[5.3])


class PolicyFeature(_Content):
    """A feature that a policy asks for; where it is null, `missing` stands for it."""

    name: str = Field(examples=["recency_days"])
    missing: float = Field(examples=[30.0])


class PolicyNode(_Content):
    """A question of a policy tree, or where `feature` is None, its answer for those who come to it.

    At most `threshold` goes to the node at `left`, more to the one at `right`. `gain` is what treating adds net of its
    cost for each who comes here, of rows that the tree has not learned from, and `share` their part of all.
    """

    feature: str | None = Field(None, examples=["recency_days"])
    threshold: float | None = Field(None, examples=[45.0])
    left: int | None = Field(None, examples=[1])
    right: int | None = Field(None, examples=[2])
    treats: bool = Field(examples=[True])
    gain: Estimated
    share: float = Field(ge=0, le=1, examples=[0.62])

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({self.feature is None, self.threshold is None, self.left is None, self.right is None}) != 1:
            raise ValueError("a node has feature, threshold, left and right, or none of them")
        return self


class PolicyRule(_Content):
    """Whom to treat: `nodes` is a binary tree from its first node on, each other node the child of one before it.

    Amounts are in the unit of `cost` for each row of all, on rows that were held out: `value` of following the rule,
    `treat_all` of treating everybody, `over_all` their difference; treating nobody is worth 0. `qini` is the area of
    the tree's ranking over treating at random.
    """

    kind: Literal["tree", "treat all", "treat none"]
    cost: float = Field(ge=0, examples=[1.5])
    value_of_outcome: float = Field(gt=0, examples=[0.4])
    features: tuple[PolicyFeature, ...]
    nodes: tuple[PolicyNode, ...] = Field(min_length=1)
    learned_from: int = Field(ge=0, examples=[12_000])
    held_out: int = Field(ge=0, examples=[6000])
    value: Estimated
    treat_all: Estimated
    over_all: Estimated
    qini: Estimated | None

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        known = {feature.name for feature in self.features}
        children = [child for node in self.nodes for child in (node.left, node.right) if child is not None]
        if sorted(children) != list(range(1, len(self.nodes))):
            raise ValueError("each node but the first must be the child of one other")
        for at, node in enumerate(self.nodes):
            if node.feature is not None and node.feature not in known:
                raise ValueError(f"a node asks for {node.feature}, which is no feature of the policy")
            if any(child is not None and child <= at for child in (node.left, node.right)):
                raise ValueError("a node must come before its children")
        return self


class TreatmentPolicy(_Content):
    """Whom of a question's population to treat, learned from an effect that is identified.

    `name` is the question's; amounts are in `unit`, e.g. `EUR per customer`.
    """

    name: str = Field(examples=["email_spring_spend"])
    question: str = Field(examples=["Did the spring e-mail make customers spend more?"])
    treatment: str = Field(examples=["got the spring e-mail"])
    population: str | None = Field(
        None,
        description="Whom it is about: a SQL condition on customer features, `true` for everybody. It says nothing of "
        "others. Null in releases of before it was told.",
        examples=["is_opted_in"],
    )
    unit: str = Field(examples=["EUR per customer"])
    as_of: date = Field(examples=["2026-01-01"])
    rule: PolicyRule


POLICIES = TypeAdapter(tuple[TreatmentPolicy, ...])


class ChannelResponse(_Content):
    """What a paid channel added, and what more or less spend a day would.

    `most`, `half_saturation` (spend a day at half of it) and `exponent` are those of the Hill curve of extra orders a
    day; up to `highest_spend` a day it is known. `carry_over` is the share of the effect that lasts to the next day.
    """

    channel: str = Field(examples=["paid_search"])
    spend: float = Field(examples=[73_000.0])
    extra_orders: Estimated
    share: Estimated
    return_on_spend: Estimated
    carry_over: Estimated
    half_saturation: Estimated
    most: float = Field(examples=[9.0])
    exponent: float = Field(examples=[1.4])
    highest_spend: float = Field(examples=[200.0])
    is_shown: bool = Field(examples=[True])


class BudgetLine(_Content):
    """Daily spend on a channel today and as proposed, from `least` to `most`; 95 % of best budgets lie in `likely`.

    `margin_today` and `margin_proposed` are the margin that one more unit of currency would add there. `is_capped`:
    more is not proposed because nobody has seen more being spent.
    """

    channel: str = Field(examples=["paid_search"])
    today: float = Field(examples=[100.0])
    proposed: float = Field(examples=[80.0])
    likely: tuple[float, float] = Field(examples=[[60.0, 100.0]])
    least: float = Field(examples=[50.0])
    most: float = Field(examples=[150.0])
    margin_today: float = Field(examples=[0.8])
    margin_proposed: float = Field(examples=[1.0])
    is_capped: bool = Field(examples=[False])


class Budget(_Content):
    """The responses of the paid channels, and the daily budget that is expected to earn most within its limits.

    Amounts are in `currency` a day. `profit` is margin that the channels add less what is spent on them, `gain` how
    much more of it the proposal is expected to earn than today's budget. Where its interval holds 0 (`is_shown` is
    false), the data do not tell the proposal from today's budget: keep that, or try the proposal in an experiment.
    """

    as_of: date = Field(examples=["2026-01-01"])
    currency: str = Field(examples=["EUR"])
    margin_of_order: float = Field(examples=[20.0])
    channels: tuple[ChannelResponse, ...]
    lines: tuple[BudgetLine, ...]
    total_most: float = Field(examples=[400.0])
    profit_today: Estimated
    profit: Estimated
    gain: Estimated
    is_shown: bool = Field(examples=[True])


class ExperimentEstimate(_Content):
    """What one variant did to one metric, against the control.

    `effect` is the difference per unit and `relative_effect` its share of the control's mean (None where that is not
    above 0). `ci_low` and `ci_high` hold for one look at the planned end; `always_low` and `always_high` at every look
    at once. Means are as measured, the effect after the covariates, which took `variance_reduction` of the variance.
    `adjusted_p_value` allows for all metrics and variants, and is None for a guardrail, which must hold alone. With
    these units `detectable_effect` is found four times of five.
    """

    metric: str = Field(examples=["orders"])
    kind: Literal["mean", "ratio", "conversion", "revenue"]
    role: Literal["primary", "secondary", "guardrail"]
    unit: str = Field(examples=["orders per customer"])
    variant: str = Field(examples=["treatment"])
    n_control: int = Field(ge=0, examples=[5012])
    n_variant: int = Field(ge=0, examples=[4988])
    control_mean: float = Field(examples=[0.31])
    variant_mean: float = Field(examples=[0.366])
    effect: float = Field(examples=[0.055])
    ci_low: float = Field(examples=[0.031])
    ci_high: float = Field(examples=[0.079])
    relative_effect: float | None = Field(examples=[0.177])
    relative_low: float | None = Field(examples=[0.1])
    relative_high: float | None = Field(examples=[0.255])
    always_low: float = Field(examples=[0.019])
    always_high: float = Field(examples=[0.091])
    p_value: float = Field(examples=[1e-05])
    adjusted_p_value: float | None = Field(examples=[4e-05])
    always_p_value: float = Field(examples=[0.0002])
    variance_reduction: float = Field(examples=[0.22])
    detectable_effect: float = Field(examples=[0.034])
    detectable_relative_effect: float | None = Field(examples=[0.11])
    power: float | None = Field(
        None, description="Of finding the smallest effect of interest, where one is named.", examples=[0.82]
    )
    units_needed: int | None = Field(
        None, description="In all variants, to find it four times of five.", examples=[9600]
    )


class ExperimentSegment(_Content):
    """The effect on the primary metric among the units of a segment; `adjusted_p_value` is whether segments differ."""

    segment: str = Field(examples=["is_new"])
    value: str = Field(examples=["true"])
    variant: str = Field(examples=["treatment"])
    n_units: int = Field(examples=[2150])
    effect: float = Field(examples=[0.061])
    ci_low: float = Field(examples=[0.018])
    ci_high: float = Field(examples=[0.104])
    adjusted_p_value: float = Field(examples=[0.41])


class ExperimentResult(_Content):
    """An experiment with its decision, or why there is none.

    With the verdict `invalid`, a check of its `integrity` failed, and no estimate leaves. `ends` is the first day that
    is no more part of it. `variants` are the units of each, the control first; `choice` is the variant to ship.
    """

    name: str = Field(examples=["checkout_redesign"])
    description: str = Field(examples=["A checkout on one page, to have fewer carts abandoned."])
    state: Literal["planned", "running", "complete"]
    control: str = Field(examples=["control"])
    variants: dict[str, int] = Field(examples=[{"control": 5012, "treatment": 4988}])
    starts: date | None = Field(examples=["2024-12-02"])
    ends: date | None = Field(examples=["2025-02-13"])
    as_of: date | None = Field(examples=["2026-01-01"])
    confidence_level: float = Field(gt=0, lt=1, examples=[0.95])
    correction: str = Field(examples=["holm"])
    integrity: tuple[EffectCheck, ...]
    warnings: tuple[str, ...] = Field(examples=[["a metric has no covariate"]])
    estimates: tuple[ExperimentEstimate, ...]
    segments: tuple[ExperimentSegment, ...]
    verdict: Literal["ship", "hold", "stop", "invalid"]
    choice: str | None = Field(examples=["treatment"])
    reasons: tuple[str, ...] = Field(examples=[["orders rose by 17.7 % (10.0 % to 25.5 %)"]])
    memo: str = Field("", description="The decision in plain words, as Markdown.")


EXPERIMENTS = TypeAdapter(tuple[ExperimentResult, ...])


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


class Kpi(_Content):
    """A figure of `kpis.arrow`, or one that is made of two.

    `formula` has one column of `KPI_COLUMNS`, `customers`, or two with a `/` or `-` between them. `dimensions` are what
    it can be split by. An amount is in the shop's currency.
    """

    name: str
    description: str
    unit: Literal["amount", "count", "ratio"]
    formula: str
    dimensions: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, str | None, str | None]:
        """The first column, and where there is a second one, what is between them and that."""
        first, *rest = self.formula.split(" ")
        return (first, rest[0], rest[1]) if rest else (first, None, None)

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        known = {*_AMOUNTS, *_COUNTS, "customers"}
        first, sign, second = self.parts
        if first not in known or (sign is not None and (sign not in {"/", "-"} or second not in known)):
            raise ValueError(f"{self.formula!r} cannot be computed from {', '.join(sorted(known))}")
        return self


KPI_LIST = TypeAdapter(tuple[Kpi, ...])


class LineageNode(_Content):
    """An asset and what it is made of. The snapshots are in the manifest: the same rows make the same release."""

    key: str
    upstream: tuple[str, ...]


class Lineage(_Content):
    """`lineage.json`: all assets that the release is made of, by key. What is upstream and not named is a source."""

    assets: tuple[LineageNode, ...]


def write_customers(path: Path, customers: pa.Table) -> None:
    """Write `customers.arrow`: uncompressed, so that it can be memory-mapped, and sorted by `customer_id` for look-ups.

    Each row is there once more, for `rows.StoredRows`. `customers` has the columns of `CUSTOMER_COLUMNS` and any number
    of feature columns, one row for each customer.

    Raises:
        ContentError: a column is missing or of another type, or a customer is there twice or without an id.
    """
    ordered = customers.sort_by("customer_id") if "customer_id" in customers.column_names else customers
    _check_customers(ordered, CUSTOMER_COLUMNS)
    _write_rows(path, ordered)


def open_customers(path: Path) -> pa.Table:
    """Memory-map `customers.arrow`: the table takes no memory but the pages that are read.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_customers` gives.
    """
    customers = _open(path)
    _check_customers(
        customers, [name for name in CUSTOMER_COLUMNS if name in {"customer_id", "as_of", *customers.column_names}]
    )
    return customers


def mark_personal(customers: pa.Table, kinds: Mapping[str, Pii]) -> pa.Table:
    """`customers` with those of its columns marked that are personal data, of the kinds `kinds`: the API masks them."""
    fields = [
        field.with_metadata({**(field.metadata or {}), _PERSONAL: kinds[field.name].encode()})
        if field.name in kinds
        else field
        for field in customers.schema
    ]
    return customers.cast(pa.schema(fields))


def personal_columns(path: Path) -> dict[str, str]:
    """The columns of the table at `path` that `mark_personal` marked, with the kind of data that each holds.

    Raises:
        ContentError: it is not an Arrow file.
    """
    marked = {field.name: (field.metadata or {}).get(_PERSONAL) for field in _open(path).schema}
    return {name: kind.decode() for name, kind in marked.items() if kind is not None}


def write_lists(path: Path, lists: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    """Write the file of lists `path`, e.g. `recommendations.arrow`, as `write_customers` writes its own.

    It is sorted by the first of its `columns`.

    Raises:
        ContentError: it has other columns, or an id is there twice or missing.
    """
    key = next(iter(columns))
    ordered = lists.sort_by(key) if key in lists.column_names else lists
    _check_lists(path.name, ordered, columns)
    _write_rows(path, ordered)


def open_lists(path: Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Memory-map what `write_lists` wrote.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_lists` gives.
    """
    lists = _open(path)
    _check_lists(path.name, lists, columns)
    return lists


def write_products(folder: Path, name: str, products: pa.Table) -> None:
    """Write the file `name` of `PRODUCT_FILES`, as `write_customers` writes its own.

    Raises:
        ContentError: columns are others than agreed, a value is null, or a row is there twice.
    """
    _, key = PRODUCT_FILES[name]
    known = set(key) <= set(products.column_names)
    ordered = products.sort_by([(column, "ascending") for column in key]) if known else products
    _check_products(name, ordered)
    _write(folder / name, ordered)


def open_products(folder: Path, name: str) -> pa.Table:
    """Memory-map the file `name` of `PRODUCT_FILES`.

    Raises:
        ContentError: it is not an Arrow file, or not of the form that `write_products` gives.
    """
    products = _open(folder / name)
    _check_products(name, products)
    return products


def write_kpis(folder: Path, kpis: Sequence[Kpi], sums: pa.Table, customers: pa.Table) -> None:
    """Write the files of figures.

    Raises:
        ContentError: a table has other columns than agreed, or a null.
    """
    for name, columns, table in ((KPIS, KPI_COLUMNS, sums), (KPI_CUSTOMERS, KPI_CUSTOMER_COLUMNS, customers)):
        ordered = table.select([one for one in columns if one in table.column_names]).sort_by(
            [(one, "ascending") for one in columns if one in {*_KPI_KEY, "previous_date"} & {*table.column_names}]
        )
        _check_kpis(name, ordered, columns)
        _write(folder / name, ordered)
    (folder / KPI_FILE).write_bytes(KPI_LIST.dump_json(tuple(kpis), indent=2))


def open_kpis(folder: Path) -> tuple[tuple[Kpi, ...], pa.Table, pa.Table]:
    """The figures that there are, and the memory-mapped tables that `write_kpis` wrote.

    Raises:
        ContentError: a file is not of the form that `write_kpis` gives.
    """
    sums, customers = _open(folder / KPIS), _open(folder / KPI_CUSTOMERS)
    _check_kpis(KPIS, sums, KPI_COLUMNS)
    _check_kpis(KPI_CUSTOMERS, customers, KPI_CUSTOMER_COLUMNS)
    try:
        return KPI_LIST.validate_json((folder / KPI_FILE).read_bytes()), sums, customers
    except ValidationError as error:
        raise ContentError(f"{KPI_FILE} cannot be used: {error}") from None


def rename_customers(folder: Path, names: Mapping[str, str]) -> bool:
    """Give customers of a release's files other ids, the new by the old in `names`; whether one of them is there.

    Raises:
        ContentError: a file is damaged, or has a customer of the new id already.
    """
    renamed = _rename(folder / CUSTOMERS, open_customers(folder / CUSTOMERS), names, write_customers)
    for name, columns in ((RECOMMENDATIONS, RECOMMENDATION_COLUMNS), (OWN_PREDICTIONS, PREDICTION_COLUMNS)):
        listed = folder / name
        if listed.is_file():
            renamed |= _rename(listed, open_lists(listed, columns), names, partial(write_lists, columns=columns))
    golden = folder / GOLDEN
    if renamed and golden.is_file():
        golden.write_text(
            Golden.model_validate_json(golden.read_bytes()).renamed(names).model_dump_json(indent=2), encoding="utf-8"
        )
    if (folder / ORDER_HISTORY).is_file():
        from cartograph.releases.order_history import rename_in_history  # its form builds on this module

        renamed |= rename_in_history(folder / ORDER_HISTORY, names)
    return renamed


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    if isinstance(value, dict):
        return {name: _renamed(one, names) for name, one in value.items()}
    return value


def _rename(path: Path, rows: pa.Table, names: Mapping[str, str], write: Callable[[Path, pa.Table], None]) -> bool:
    ids = rows["customer_id"].to_pylist()
    if names.keys().isdisjoint(ids):
        return False
    renamed = pa.array([names.get(customer, customer) for customer in ids], pa.string())
    aside = path.with_name(f"{path.name}.new")  # the old file is mapped into memory while it is read
    write(aside, rows.set_column(rows.column_names.index("customer_id"), "customer_id", renamed))
    aside.replace(path)
    return True


def _write(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)


def _write_rows(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, row_schema(rows.schema)) as writer:
        for batch in with_rows(rows):
            writer.write_batch(batch)


def _open(path: Path) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise ContentError(f"{path.name} is not an Arrow file: {error}") from None
    return table.drop_columns(ROW) if ROW in table.column_names else table


def _check_kpis(name: str, table: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    if dict(zip(table.schema.names, table.schema.types, strict=True)) != dict(columns):
        raise ContentError(f"{name} must have the columns {', '.join(f'{n} {t}' for n, t in columns.items())}")
    if any(column.null_count for column in table.columns):
        raise ContentError(f"{name} must have no nulls")


def _check_lists(name: str, lists: pa.Table, columns: Mapping[str, pa.DataType]) -> None:
    found = dict(zip(lists.schema.names, lists.schema.types, strict=True))
    if found != dict(columns):
        raise ContentError(f"{name} must have the columns {dict(columns)}, not {found}")
    _check_ids(name, lists, next(iter(columns)))


def _check_products(name: str, products: pa.Table) -> None:
    columns, key = PRODUCT_FILES[name]
    if dict(zip(products.schema.names, products.schema.types, strict=True)) != columns:
        raise ContentError(f"{name} must have the columns {', '.join(f'{n} {t}' for n, t in columns.items())}")
    if any(column.null_count for column in products.columns):
        raise ContentError(f"{name} must have no nulls")
    keys = list(zip(*(products[column].to_pylist() for column in key), strict=True))
    if any(one >= other for one, other in pairwise(keys)):
        raise ContentError(f"{name} must be sorted by {' and '.join(key)}, each once")


def _check_customers(customers: pa.Table, columns: Iterable[str]) -> None:
    for name in columns:
        if name not in customers.column_names:
            raise ContentError(f"{CUSTOMERS} needs a column {name}")
        found, wanted = customers.schema.field(name).type, CUSTOMER_COLUMNS[name]
        if found != wanted:
            raise ContentError(f"{CUSTOMERS}: {name} must be {wanted}, not {found}")
    if customers["as_of"].null_count:
        raise ContentError(f"{CUSTOMERS}: as_of must not be null")
    _check_ids(CUSTOMERS, customers, "customer_id")


def _check_ids(name: str, rows: pa.Table, key: str) -> None:
    ids = rows[key]
    if ids.null_count:
        raise ContentError(f"{name}: {key} must not be null")
    if not pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py():
        raise ContentError(f"{name} must be sorted by {key}, each {key.removesuffix('_id')} once")
