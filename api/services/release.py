"""A release in memory: verified, opened and checked as a whole before anything is answered from it."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from api.services.customers import Customers
from api.services.kpis import Kpis
from api.services.lifetime_values import LifetimeValues
from api.services.lookup import Rows, open_rows
from api.services.model import ReleasedModel
from api.services.next_best_actions import NextBestActions
from api.services.own_models import OwnModels
from api.services.products import Products
from api.services.recommendations import Recommendations
from api.services.segments import Segments
from cartograph.releases import Manifest, ReleaseError, ReleaseStore
from cartograph.releases.contents.base import ContentError, ShopCard
from cartograph.releases.contents.causal import EFFECTS, POLICIES, Budget, Effect, TreatmentPolicy
from cartograph.releases.contents.experiments import EXPERIMENTS, ExperimentResult
from cartograph.releases.contents.files import (
    BUDGET_FILE,
    CHURN_CARD,
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_CARD,
    DEMAND_REASONS,
    EFFECTS_FILE,
    EXPERIMENTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
    GOLDEN,
    KPI_CUSTOMERS,
    KPI_FILE,
    KPIS,
    LINEAGE_FILE,
    ORDER_HISTORY,
    OWN_PREDICTIONS,
    POLICIES_FILE,
    PRODUCTS,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    RECOMMENDATIONS,
    RECOMMENDER,
    RECOMMENDER_CARD,
    REORDER,
    SCHEMA_FILE,
    SEGMENTS_CARD,
    SEGMENTS_MODEL,
    SHOP,
    SIMILAR,
    UPLIFT_CARD,
    UPLIFT_MODEL,
    own_model_files,
)
from cartograph.releases.contents.golden import Golden
from cartograph.releases.contents.lineage import Lineage, LineageNode
from cartograph.releases.contents.models import ModelCard, input_schema
from cartograph.releases.contents.tables import (
    DEMAND_REASON_COLUMNS,
    LISTED,
    open_customers,
    open_lists,
    open_product_features,
    open_products,
    personal_columns,
)
from ml_assets.core.features.order_history import OrderHistory

CHURN_FILES = (CHURN_MODEL, CHURN_CARD)
FRAUD_FILES = (FRAUD_MODEL, FRAUD_CARD)
PROPENSITY_FILES = (PROPENSITY_MODEL, PROPENSITY_CARD)
CLV_FILES = (CLV_MODEL, CLV_CARD)
UPLIFT_FILES = (UPLIFT_MODEL, UPLIFT_CARD)
SEGMENTS_FILES = (SEGMENTS_MODEL, SEGMENTS_CARD)
RECOMMENDER_FILES = (RECOMMENDER, RECOMMENDER_CARD, RECOMMENDATIONS, SIMILAR)
DEMAND_FILES = (DEMAND, DEMAND_CARD)
KPI_FILES = (KPI_FILE, KPIS, KPI_CUSTOMERS)
ALL_FILES = (
    CHURN_FILES,
    FRAUD_FILES,
    PROPENSITY_FILES,
    CLV_FILES,
    UPLIFT_FILES,
    SEGMENTS_FILES,
    RECOMMENDER_FILES,
    DEMAND_FILES,
    KPI_FILES,
)
"""The files of each model, and of the figures: a release has all of one, or none."""
ASKED = (CHURN_FILES, FRAUD_FILES, PROPENSITY_FILES, CLV_FILES, UPLIFT_FILES, SEGMENTS_FILES)
"""Those that take features. Such a model, as one of the shop's own, has the schema of them beside it."""

PAGES = ("models/*/*", "causal/*/*", "experiments/*/*")
"""What is beneath the own folder of a model, a question or an experiment is for people."""


class UnusableRelease(ReleaseError):  # noqa: N818 - named like the other release errors
    """The files of a release are as released, but not what this service reads."""


@dataclass(frozen=True)
class ReleasedDemand:
    """The forecasts from `as_of` on, what made them, and the reorder advice: None for a shop that counts no stock.

    `reasons` tell why the products have these forecasts; None in a release that was made before there were any.
    `most` are the products of which most is expected to be sold, with how many.
    """

    as_of: date
    card: ModelCard
    forecasts: Products
    advice: Products | None
    reasons: Rows | None
    most: Mapping[str, float]


@dataclass(frozen=True)
class LoadedRelease:
    """All that is answered from. A request works on one such object from beginning to end.

    `churn`, `fraud`, `propensity`, `lifetime_values`, `actions`, `segments`, `recommendations` and `demand` are None
    in the release of a shop that is too young for the model, or delivers too little; so is `orders`, and of a release
    that was made before there was a history; `budget` where it does not tell what it spends, or nothing is shown.
    `own` are the shop's own models. `personal` are the columns of the customers that are personal data. `products`,
    their features, and `lineage`, what its assets are made of by key, are None in releases of before there were any,
    and so is `kpis`, which a shop without an order has not either. `pages` are the models' cards and the memos with
    their pictures, by their paths in it. `schemas` are those of what models take, by the model, and `golden` what
    must be answered.
    """

    manifest: Manifest
    shop: ShopCard
    customers: Customers
    personal: frozenset[str]
    products: Rows | None
    churn: ReleasedModel | None
    fraud: ReleasedModel | None
    propensity: ReleasedModel | None
    lifetime_values: LifetimeValues | None
    actions: NextBestActions | None
    segments: Segments | None
    orders: OrderHistory | None
    recommendations: Recommendations | None
    demand: ReleasedDemand | None
    own: OwnModels
    effects: tuple[Effect, ...]
    policies: tuple[TreatmentPolicy, ...]
    budget: Budget | None
    kpis: Kpis | None
    lineage: Mapping[str, LineageNode] | None
    experiments: tuple[ExperimentResult, ...]
    pages: Mapping[str, bytes]
    schemas: Mapping[str, dict[str, Any]]
    golden: Golden

    @property
    def cards(self) -> list[ModelCard]:
        """The cards of the models in it."""
        of_customers = (self.churn, self.fraud, self.propensity, self.lifetime_values, self.actions, self.segments)
        fixed = (*of_customers, self.recommendations, self.demand)
        return [model.card for model in (*fixed, *self.own.models.values()) if model]

    def made_by(self, model_version: str) -> dict[str, Any]:
        """Of which model, release and date an answer is."""
        manifest = self.manifest
        return {
            "model_version": model_version,
            "release_id": manifest.release_id,
            "as_of": manifest.inputs.as_of,
        }

    def has_forecast(self, product_id: str) -> bool:
        """Whether it has a forecast of the product, which then is sold."""
        return self.demand is not None and bool(self.demand.forecasts.rows(product_id))

    def knows_product(self, product_id: str) -> bool:
        """Whether the product is in its catalogue, has a forecast, or has features."""
        return (
            (self.recommendations is not None and product_id in self.recommendations.places)
            or self.has_forecast(product_id)
            or (self.products is not None and self.products.find(product_id) is not None)
        )

    def classifier(self, name: str) -> ReleasedModel | None:
        """The model of yes or no that routes call so; None where the release has none of that name."""
        named = {"churn": self.churn, "propensity": self.propensity, "order_fraud": self.fraud}
        return named[name] if name in named else self.own.models.get(name)


def load_release(store: ReleaseStore, release_id: str) -> LoadedRelease:
    """Fetch and verify a release, and open its files.

    Raises:
        ReleaseError: it is unknown or damaged, or a file of it is missing or has another form.
    """
    folder, manifest = store.take(release_id)
    models = [files for files in ALL_FILES if any(manifest.file(name) for name in files)]
    if manifest.file(REORDER) and DEMAND_FILES not in models:
        models.append(DEMAND_FILES)
    needed = (SHOP, CUSTOMERS, EFFECTS_FILE, GOLDEN, *(name for files in models for name in files))
    needed += tuple(_schema_of(files) for files in ASKED if files in models)
    listed = {entry.path for entry in manifest.files}
    own = own_names(listed)
    if own:
        needed += (OWN_PREDICTIONS, *(name for model in own for name in own_model_files(model)))
        needed += tuple(_schema_of(own_model_files(model)) for model in own)
    missing = [name for name in needed if not manifest.file(name)]
    if missing:
        raise UnusableRelease(f"Release {release_id} has no {', '.join(missing)}. {_CURE}")
    try:
        loaded = LoadedRelease(
            manifest=manifest,
            shop=ShopCard.model_validate_json((folder / SHOP).read_bytes()),
            customers=Customers(open_rows(folder / CUSTOMERS, open_customers(folder / CUSTOMERS), "customer_id")),
            personal=frozenset(personal_columns(folder / CUSTOMERS)),
            products=_load_products(folder) if manifest.file(PRODUCTS) else None,
            churn=ReleasedModel.load(folder, *CHURN_FILES, listed) if CHURN_FILES in models else None,
            fraud=_deciding(ReleasedModel.load(folder, *FRAUD_FILES, listed)) if FRAUD_FILES in models else None,
            propensity=ReleasedModel.load(folder, *PROPENSITY_FILES, listed) if PROPENSITY_FILES in models else None,
            lifetime_values=LifetimeValues.load(folder, manifest.inputs.as_of, listed) if CLV_FILES in models else None,
            actions=NextBestActions.load(folder, listed) if UPLIFT_FILES in models else None,
            segments=Segments.load(folder, listed) if SEGMENTS_FILES in models else None,
            orders=OrderHistory.open(folder / ORDER_HISTORY) if manifest.file(ORDER_HISTORY) else None,
            recommendations=Recommendations.load(folder) if RECOMMENDER_FILES in models else None,
            demand=_load_demand(folder, listed) if DEMAND_FILES in models else None,
            own=OwnModels.load(folder, own, listed),
            effects=EFFECTS.validate_json((folder / EFFECTS_FILE).read_bytes()),
            policies=POLICIES.validate_json((folder / POLICIES_FILE).read_bytes())
            if manifest.file(POLICIES_FILE)
            else (),
            budget=Budget.model_validate_json((folder / BUDGET_FILE).read_bytes())
            if manifest.file(BUDGET_FILE)
            else None,
            kpis=Kpis.load(folder, manifest.inputs.as_of) if KPI_FILES in models else None,
            lineage=_load_lineage(folder) if manifest.file(LINEAGE_FILE) else None,
            experiments=EXPERIMENTS.validate_json((folder / EXPERIMENTS_FILE).read_bytes())
            if manifest.file(EXPERIMENTS_FILE)
            else (),
            pages={
                entry.path: (folder / entry.path).read_bytes()
                for entry in manifest.files
                if any(PurePosixPath(entry.path).match(folder) for folder in PAGES)
            },
            schemas=_load_schemas(folder, manifest),
            golden=Golden.model_validate_json((folder / GOLDEN).read_bytes()),
        )
        _require_schemas_fit(loaded)
    except (ContentError, ValidationError) as error:
        raise UnusableRelease(f"Release {release_id} cannot be served: {error}. {_CURE}") from None
    return loaded


def own_names(paths: Iterable[str]) -> list[str]:
    """The shop's own models among the files `paths` of a release: all that are exported and no part of it otherwise."""
    known = {name for files in ALL_FILES for name in files}
    exported = [Path(path) for path in paths if path not in known]
    return sorted(path.stem for path in exported if path.suffix == ".onnx" and path.parent.name == "models")


def _schema_of(files: tuple[str, str]) -> str:
    """The file of what a model takes; `files` are the model and its card, which bears the model's name."""
    return SCHEMA_FILE.format(name=Path(files[1]).stem)


def _load_schemas(folder: Path, manifest: Manifest) -> dict[str, dict[str, Any]]:
    paths = [PurePosixPath(entry.path) for entry in manifest.files]
    found = {}
    for path in (path for path in paths if path.match(_SCHEMAS)):
        try:
            found[path.name.removesuffix(_ENDING)] = json.loads((folder / path).read_bytes())
        except ValueError as error:
            raise ContentError(f"{path} is no JSON: {error}") from None
    return found


def _require_schemas_fit(release: LoadedRelease) -> None:
    """Raise ContentError where a schema is not that of the model's card: clients would be told something wrong."""
    cards = {card.name: card for card in release.cards}
    for name, schema in release.schemas.items():
        if name not in cards or schema != input_schema(cards[name]):
            raise ContentError(f"{SCHEMA_FILE.format(name=name)} is not the schema of what the model takes by its card")


def _deciding(model: ReleasedModel) -> ReleasedModel:
    if model.card.review is None:
        raise ContentError(f"{FRAUD_CARD} has no review, so it is not said when an order is worth a look")
    return model


def _load_lineage(folder: Path) -> dict[str, LineageNode]:
    lineage = Lineage.model_validate_json((folder / LINEAGE_FILE).read_bytes())
    return {node.key: node for node in lineage.assets}


def _load_products(folder: Path) -> Rows:
    return open_rows(folder / PRODUCTS, open_product_features(folder / PRODUCTS), "product_id")


def _load_demand(folder: Path, listed: Container[str]) -> ReleasedDemand:
    forecasts = open_products(folder, DEMAND)
    if not len(forecasts):
        raise ContentError(f"{DEMAND} has no row")
    return ReleasedDemand(
        as_of=forecasts["as_of"][0].as_py(),
        card=ModelCard.model_validate_json((folder / DEMAND_CARD).read_bytes()),
        forecasts=Products(forecasts),
        advice=Products(open_products(folder, REORDER)) if REORDER in listed else None,
        reasons=_load_reasons(folder) if DEMAND_REASONS in listed else None,
        most=_most_expected(forecasts),
    )


def _load_reasons(folder: Path) -> Rows:
    path = folder / DEMAND_REASONS
    return open_rows(path, open_lists(path, DEMAND_REASON_COLUMNS), "product_id")


def _most_expected(forecasts: pa.Table) -> dict[str, float]:
    sums = forecasts.group_by("product_id").aggregate([("mean", "sum")])
    ordered = sums.sort_by([("mean_sum", "descending"), ("product_id", "ascending")]).slice(0, LISTED)
    return dict(zip(ordered["product_id"].to_pylist(), ordered["mean_sum"].to_pylist(), strict=True))


_SCHEMAS, _ENDING = SCHEMA_FILE.format(name="*"), PurePosixPath(SCHEMA_FILE).name.format(name="")
_CURE = "Publish a new one with `cartograph run`, or go back with `cartograph release rollback`."
