"""The golden requests of a release: what the API must answer, found from tables and registered models alone.

Nothing of the API's code is used: an answer that both get wrong in the same way would not be found. A few requests of
each kind are enough to see a file that was swapped, a column that was shifted, a model that is another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import Effect, TreatmentPolicy
from cartograph.releases.contents.experiments import ExperimentResult
from cartograph.releases.contents.files import DEMAND, GOLDEN, REORDER
from cartograph.releases.contents.golden import MOST_TOLERANCE, Golden, GoldenRequest
from cartograph.releases.contents.models import FeatureSpec, ModelCard
from cartograph.releases.contents.tables import CUSTOMER_COLUMNS, PRODUCT_COLUMNS
from ml_assets.core.causal.decisions import leaves
from ml_assets.core.models import churn, clv, fraud, propensity
from ml_assets.core.models.export import predict
from ml_assets.core.models.recommendation.product_recommender import ProductRecommender
from ml_assets.core.models.scoring import card_of
from ml_assets.core.registry import Registered
from ml_assets.defs.serving.recommendations import Recommended

LISTED = 5
PATHS = {
    churn.NAME: "/v1/predict/churn",
    propensity.NAME: "/v1/predict/propensity",
    fraud.NAME: "/v1/predict/order_fraud",
    clv.NAME: "/v1/predict/lifetime_value",
}
"""Where the models answer that are no model of the shop's own."""
NOBODY = "golden-nobody"
_EXAMPLES = 3


class Contents(NamedTuple):
    """What is released, as the asset has it in hand. `models` are those that answer to given features."""

    as_of: date
    shop: ShopCard
    customers: pa.Table
    models: Sequence[Registered]
    recommended: Recommended | None
    products: pa.Table
    demand: Mapping[str, pa.Table]
    reasons: pa.Table | None
    effects: Sequence[Effect]
    policies: Sequence[TreatmentPolicy]
    experiments: Sequence[ExperimentResult]


def write_golden(folder: Path, contents: Contents) -> None:
    """Write `golden.json` into the release in `folder`."""
    (folder / GOLDEN).write_text(golden(contents).model_dump_json(indent=2), encoding="utf-8")


def golden(contents: Contents) -> Golden:
    """The golden requests of what is released; none of an id with a slash, which no path leads to."""
    requests = (
        _of_shop(contents),
        *_of_customers(contents.customers),
        *(one for model in contents.models for one in _of_given_features(model, contents)),
        *_of_recommendations(contents.recommended),
        *_of_products(contents.products),
        *_of_demand(contents.demand),
        *_of_reasons(contents.reasons),
        *_of_decisions(contents),
    )
    return Golden(requests=tuple(one for one in requests if "%2F" not in one.path))


def _of_shop(contents: Contents) -> GoldenRequest:
    answer = {
        "as_of": contents.as_of.isoformat(),
        "shop": contents.shop.model_dump(mode="json"),
        "customers": len(contents.customers),
    }
    return GoldenRequest(name="the release", path="/v1/release", answer=answer)


def _of_customers(customers: pa.Table) -> Iterable[GoldenRequest]:
    """The first and the last by id, one in between, and one with and without each kind of prediction."""
    if not len(customers):
        return
    places = [0, len(customers) // 2, len(customers) - 1]
    for column in (name for name in customers.column_names if name.endswith("_model_version")):
        for wanted in (customers[column].is_valid(), customers[column].is_null()):
            place = pc.index(wanted, True).as_py()
            places += [place] if place >= 0 else []
    for number, row in enumerate(customers.take(sorted(set(places))).to_pylist(), 1):
        yield GoldenRequest(
            name=f"customer {number}",
            path=f"/v1/customers/{_quoted(row['customer_id'])}",
            answer=_customer(row),
        )
    unknown = {"status": 404, "type": "urn:cartograph:problem:unknown-customer"}
    if NOBODY not in set(customers["customer_id"].to_pylist()):
        yield GoldenRequest(name="nobody", path=f"/v1/customers/{NOBODY}", status=404, answer=unknown)


def _customer(row: dict[str, Any]) -> dict[str, Any]:
    def predicted(version: str, **values: str) -> dict[str, Any] | None:
        if row[version] is None:
            return None
        return {name: _json(row[column]) for name, column in values.items()} | {"model_version": row[version]}

    return {
        "customer_id": row["customer_id"],
        "as_of": _json(row["as_of"]),
        "segment": row["segment"],
        "churn": predicted("churn_model_version", probability="churn_probability"),
        "purchase": predicted("propensity_model_version", probability="purchase_probability"),
        "behaviour": predicted("segments_model_version", number="segment_number", name="behaviour_segment"),
        "lifetime_value": predicted(
            "clv_model_version",
            amount="lifetime_value_amount",
            expected_orders="expected_orders_365d",
            expected_revenue="expected_revenue_365d",
            alive_probability="alive_probability",
        ),
        "next_best_action": predicted(
            "uplift_model_version",
            action="next_action",
            reason="next_action_reason",
            added_margin="added_margin_amount",
            low="added_margin_low",
            high="added_margin_high",
        ),
        "features": {name: _json(value) for name, value in row.items() if name not in CUSTOMER_COLUMNS},
    }


def _of_given_features(model: Registered, contents: Contents) -> Iterable[GoldenRequest]:
    asked = _of_lifetime_values if model.name == clv.NAME else _of_model
    return asked(model, contents)


def _of_lifetime_values(model: Registered, contents: Contents) -> Iterable[GoldenRequest]:
    """Likewise of a few customers who have ordered: the model knows no others, and ranges alone make none of them."""
    customers, version = contents.customers, card_of(model).version
    if not {"clv_model_version", *clv.INPUTS} <= set(customers.column_names):
        return
    valued = customers.filter(customers["clv_model_version"].is_valid())
    if not len(valued):
        return
    places = sorted({0, len(valued) // 2, len(valued) - 1})
    rows = valued.select(clv.INPUTS).take(places)
    values = clv.predict(clv.ClvModel.model_validate_json(model.content), clv.known(rows, contents.as_of))
    for number, row in enumerate(rows.to_pylist()):
        yield GoldenRequest(
            name=f"{model.name} of given features, {number + 1}",
            method="POST",
            path=PATHS[clv.NAME],
            body={"features": row | {"spend_amount": float(row["spend_amount"])}},
            answer={
                "amount": float(values.value[number]),
                "expected_orders": float(values.orders_365d[number]),
                "expected_revenue": float(values.revenue[number]),
                "alive_probability": float(values.alive[number]),
                "currency": contents.shop.currency,
                "model_version": version,
                "as_of": contents.as_of.isoformat(),
            },
            tolerance=MOST_TOLERANCE,
        )


def _of_model(model: Registered, contents: Contents) -> Iterable[GoldenRequest]:
    """What the model of the registry, not that of the release, says of a few rows; each alone, as it is asked."""
    card = card_of(model)
    for number, given in enumerate(examples(card, contents.customers), 1):
        row = [math.nan if given[one.name] is None else float(given[one.name]) for one in card.features]
        probability = float(np.clip(predict(model.content, np.array([row], np.float32))[0], 0.0, 1.0))
        answer = {"probability": probability, "model_version": card.version, "as_of": contents.as_of.isoformat()}
        if card.review is not None:
            at_stake = probability * float(np.float32(given[card.review.amount]))
            if math.isclose(at_stake, card.review.cost, rel_tol=1e-3):
                continue  # a rounding error decides
            answer["decision"] = "review" if at_stake > card.review.cost else "accept"
        yield GoldenRequest(
            name=f"{card.name} of given features, {number}",
            method="POST",
            path=PATHS.get(card.name, f"/v1/predict/{card.name}"),
            body={"features": given},
            answer=answer,
            tolerance=MOST_TOLERANCE,
        )


def examples(card: ModelCard, customers: pa.Table) -> list[dict[str, Any]]:
    """Features that the model takes: of customers where they have all of them, else from the ranges of its card."""
    names = [one.name for one in card.features]
    made = [{one.name: _example(one, number) for one in card.features} for number in range(_EXAMPLES)]
    if not set(names) <= set(customers.column_names) or not len(customers):
        return made
    places = sorted({0, len(customers) // 3, 2 * len(customers) // 3})
    rows = [
        {one.name: _typed(one, row[one.name]) for one in card.features}
        for row in customers.select(names).take(places).to_pylist()
    ]
    return [row for row in rows if all(_fits(one, row[one.name]) for one in card.features)] or made


def _example(feature: FeatureSpec, number: int) -> bool | int | float | None:
    if feature.type == "boolean":
        return number % 2 == 0
    if feature.nullable and number == 1:
        return None
    low = feature.minimum if feature.minimum is not None else min(0.0, feature.maximum or 0.0)
    high = feature.maximum if feature.maximum is not None else low + 20
    value = low + (high - low) * number / (_EXAMPLES - 1)
    return math.floor(value) if feature.type == "bigint" else value


def _typed(feature: FeatureSpec, value: Any) -> bool | int | float | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return {"boolean": bool, "bigint": int, "double": float}[feature.type](value)


def _fits(feature: FeatureSpec, value: bool | float | None) -> bool:
    if value is None:
        return feature.nullable
    low, high = feature.minimum, feature.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def _of_recommendations(recommended: Recommended | None) -> Iterable[GoldenRequest]:
    if recommended is None:
        return
    made = {"model_version": recommended.card.version}
    for number, row in enumerate(_ends(recommended.customers), 1):
        listed = {
            "product_id": row["product_ids"],
            "score": row["scores"],
            "source": row["sources"],
            "because_product_id": row["because_product_ids"],
        }
        yield GoldenRequest(
            name=f"recommendations for customer {number}",
            path=f"/v1/customers/{_quoted(row['customer_id'])}/recommendations?limit={LISTED}",
            answer={"model_version": row["model_version"], "recommendations": _ranked(listed)},
        )
    seen = []
    for row in _ends(recommended.products):
        seen.append(row["product_id"])
        similar = {
            "product_id": row["similar_product_ids"],
            "score": row["similar_scores"],
            "source": row["similar_sources"],
        }
        yield GoldenRequest(
            name=f"products similar to {row['product_id']}",
            path=f"/v1/products/{_quoted(row['product_id'])}/similar?limit={LISTED}",
            answer={"model_version": row["model_version"], "similar": _ranked(similar)},
        )
    for products in ([], seen):
        found = ProductRecommender.from_bytes(recommended.model).session(products, LISTED)
        yield GoldenRequest(
            name=f"a session of {len(products)} products",
            method="POST",
            path="/v1/recommendations/session",
            body={"products": products, "limit": LISTED},
            answer=made | {"recommendations": [{"rank": at, **one._asdict()} for at, one in enumerate(found, 1)]},
            tolerance=MOST_TOLERANCE,
        )


def _of_products(products: pa.Table) -> Iterable[GoldenRequest]:
    for row in _ends(products):
        features = {name: _json(value) for name, value in row.items() if name not in PRODUCT_COLUMNS}
        yield GoldenRequest(
            name=f"the product {row['product_id']}",
            path=f"/v1/products/{_quoted(row['product_id'])}",
            answer={"product_id": row["product_id"], "as_of": _json(row["as_of"]), "features": features},
        )


def _of_demand(tables: Mapping[str, pa.Table]) -> Iterable[GoldenRequest]:
    forecasts, advice = tables.get(DEMAND), tables.get(REORDER)
    if forecasts is not None and len(forecasts):
        for product in (pc.min(forecasts["product_id"]).as_py(), pc.max(forecasts["product_id"]).as_py()):
            days = forecasts.filter(pc.equal(forecasts["product_id"], product)).sort_by("date").to_pylist()
            shown = [{name: _json(value) for name, value in day.items() if name in _DAY} for day in days]
            yield GoldenRequest(
                name=f"demand for {product}",
                path=f"/v1/products/{_quoted(product)}/demand",
                answer={"product_id": product, "model_version": days[0]["model_version"], "days": shown},
            )
    for row in _ends(advice) if advice is not None else ():
        yield GoldenRequest(
            name=f"reorder advice for {row['product_id']}",
            path=f"/v1/products/{_quoted(row['product_id'])}/reorder",
            answer={name: _json(value) for name, value in row.items()},
        )


def _of_reasons(reasons: pa.Table | None) -> Iterable[GoldenRequest]:
    for row in _ends(reasons) if reasons is not None else ():
        parts = zip(row["features"], row["values"], row["contributions"], strict=True)
        strongest = [
            {"feature": feature, "value": _json(value), "contribution": part}
            for feature, value, part in sorted(parts, key=lambda one: -abs(one[2]))
        ]
        yield GoldenRequest(
            name=f"why {row['product_id']} is expected to sell as it is",
            path=f"/v1/products/{_quoted(row['product_id'])}/explanations/demand",
            answer={
                "model_version": row["model_version"],
                "explanation": {"base_value": row["base_value"], "contributions": strongest},
            },
        )


def _of_decisions(contents: Contents) -> Iterable[GoldenRequest]:
    for effect in contents.effects:
        answer = effect.model_dump(mode="json", include={"name", "verdict", "estimate", "ci_low", "ci_high", "unit"})
        path = f"/v1/causal/effects/{_quoted(effect.name)}"
        yield GoldenRequest(name=f"the effect of {effect.name}", path=path, answer={"effect": answer})
    rules = [
        {"name": one.name, "population": one.population, "unit": one.unit, "rule": {"cost": one.rule.cost}}
        for one in contents.policies
    ]
    yield GoldenRequest(name="the policies", path="/v1/causal/policies", answer={"policies": rules})
    for policy in contents.policies:
        yield from _of_policy(policy, contents.customers)
    for tried in contents.experiments:
        decided = tried.model_dump(mode="json", include={"name", "state", "verdict", "choice"})
        path = f"/v1/experiments/{_quoted(tried.name)}"
        yield GoldenRequest(name=f"the experiment {tried.name}", path=path, answer={"experiment": decided})


def _of_policy(policy: TreatmentPolicy, customers: pa.Table) -> Iterable[GoldenRequest]:
    """One customer whom the policy is about, and one whom it is not, where there are such.

    Of the first nothing is asked where the policy needs what the release does not hold.
    """
    lists = customers["policies"].combine_chunks()
    is_inside = np.zeros(len(customers), dtype=np.bool_)
    is_inside[pc.list_parent_indices(lists).filter(pc.equal(pc.list_flatten(lists), policy.name)).to_numpy()] = True
    asked = {"question": policy.name, "cost": policy.rule.cost}
    names = [feature.name for feature in policy.rule.features]
    inside, outside = (_first_asked(customers["customer_id"], is_inside == wanted) for wanted in (True, False))
    if inside is not None and set(names) <= set(customers.column_names):
        row = customers.slice(inside, 1)
        given = [row[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in names]
        leaf = policy.rule.nodes[leaves(policy.rule, np.array(given, dtype=np.float64).reshape(1, len(names)))[0]]
        worth = {end: value + policy.rule.cost for end, value in leaf.gain.model_dump().items()}
        yield _decision(policy, row, "whom it is about", asked | {"treat": leaf.treats, "worth": worth})
    if outside is not None:
        refused = {"treat": False, "reason": "outside_population", "worth": None, "because": []}
        yield _decision(policy, customers.slice(outside, 1), "whom it is not about", asked | refused)


def _decision(policy: TreatmentPolicy, row: pa.Table, who: str, answer: dict[str, Any]) -> GoldenRequest:
    customer = row["customer_id"][0].as_py()
    path = f"/v1/causal/policies/{_quoted(policy.name)}/customers/{_quoted(customer)}"
    return GoldenRequest(name=f"the policy of {policy.name} for {who}", path=path, answer=answer)


def _first_asked(ids: pa.ChunkedArray, among: npt.NDArray[np.bool_]) -> int | None:
    """The first place of `among` whose id a path leads to."""
    return next((int(at) for at in np.flatnonzero(among) if "/" not in ids[int(at)].as_py()), None)


def _ends(rows: pa.Table) -> list[dict[str, Any]]:
    """The first and the last row by the first column, in whatever order the rows are."""
    ordered = rows.sort_by(rows.column_names[0])
    found: list[dict[str, Any]] = ordered.take(sorted({0, len(rows) - 1})).to_pylist() if len(rows) else []
    return found


def _ranked(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    rows = zip(*(values[:LISTED] for values in columns.values()), strict=True)
    return [{"rank": at, **dict(zip(columns, row, strict=True))} for at, row in enumerate(rows, 1)]


def _json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _quoted(name: str) -> str:
    return quote(name, safe="")


_DAY = {"date", "mean", "low", "p25", "median", "p75", "high"}
