"""The files of a release, as they are written from what was gathered.

Their form is `cartograph.releases.contents`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import EFFECTS, POLICIES
from cartograph.releases.contents.experiments import EXPERIMENTS
from cartograph.releases.contents.files import (
    BUDGET_FILE,
    CARD_PAGE,
    CHURN_CARD,
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND_CARD,
    DEMAND_REASONS,
    EFFECTS_FILE,
    EXPERIMENT_PAGE,
    EXPERIMENTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
    LINEAGE_FILE,
    MEMO_PAGE,
    ORDER_HISTORY,
    OWN_PREDICTIONS,
    POLICIES_FILE,
    PRODUCTS,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    SEGMENTS_CARD,
    SEGMENTS_MODEL,
    SHOP,
    UPLIFT_CARD,
    UPLIFT_MODEL,
    explanation_file,
    own_model_files,
)
from cartograph.releases.contents.lineage import Lineage, LineageNode
from cartograph.releases.contents.models import write_schema
from cartograph.releases.contents.tables import (
    DEMAND_REASON_COLUMNS,
    PREDICTION_COLUMNS,
    mark_personal,
    write_customers,
    write_lists,
    write_product_features,
    write_products,
)
from cartograph.releases.order_history import write_history
from cartograph.shops import Shop
from cartograph.trust.asset_graph import GuardedAsset
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.experiments.memo import illustrated
from ml_assets.core.experiments.report import Report
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.cards import page
from ml_assets.core.models.demand.training import NAME as DEMAND_NAME
from ml_assets.core.models.scoring import card_of
from ml_assets.core.questions.answers import Told
from ml_assets.core.registry import Registered, Version
from ml_assets.defs.serving.explanations import released_explainer
from ml_assets.defs.serving.gathering import Gathered
from ml_assets.defs.serving.golden import PATHS, Contents, write_golden
from ml_assets.defs.serving.kpis import write_figures
from ml_assets.defs.serving.recommendations import write_recommendations
from ml_assets.defs.serving.sources import own_champions

MODEL_FILES = {
    churn.NAME: (CHURN_MODEL, CHURN_CARD),
    propensity.NAME: (PROPENSITY_MODEL, PROPENSITY_CARD),
    fraud.NAME: (FRAUD_MODEL, FRAUD_CARD),
    clv.NAME: (CLV_MODEL, CLV_CARD),
    campaign_uplift.NAME: (UPLIFT_MODEL, UPLIFT_CARD),
    segments.NAME: (SEGMENTS_MODEL, SEGMENTS_CARD),
}
"""The files of the models that the API asks as they are."""
PERSONAL = {feature.name: feature.pii for feature in CUSTOMER_FEATURES.features if feature.pii}
"""The columns of the customers that the API shows to the scope `pii` only."""


def write_contents(folder: Path, found: Gathered, champions: Mapping[str, Registered], shop: ShopCard) -> None:
    """Write what was read, the models, and the golden requests."""
    own = own_champions(champions)
    write_customers(folder / CUSTOMERS, mark_personal(found.customers, PERSONAL))
    write_product_features(folder / PRODUCTS, found.products)
    for name in champions.keys() & (MODEL_FILES.keys() | own.keys()):
        write_model(folder, champions[name], found.judged if name == fraud.NAME else found.customers)
    if found.predicted is not None:
        write_lists(folder / OWN_PREDICTIONS, found.predicted, PREDICTION_COLUMNS)
    if found.recommended:
        write_recommendations(folder, found.recommended)
    if found.demand:
        write_demand(folder, champions[DEMAND_NAME], found.demand)
    if found.reasons is not None:
        write_lists(folder / DEMAND_REASONS, found.reasons, DEMAND_REASON_COLUMNS)
    write_figures(folder, found.figures)
    if found.orders:
        write_history(folder / ORDER_HISTORY, *found.orders)
    if found.budget:
        (folder / BUDGET_FILE).write_text(found.budget.model_dump_json(indent=2), encoding="utf-8")
    if found.experiments:
        write_experiments(folder, found.experiments)
    write_answers(folder, found.answers)
    if found.policies:
        (folder / POLICIES_FILE).write_bytes(POLICIES.dump_json(tuple(found.policies), indent=2))
    (folder / SHOP).write_text(shop.model_dump_json(indent=2), encoding="utf-8")
    write_golden(
        folder,
        Contents(
            as_of=found.as_of,
            shop=shop,
            customers=found.customers,
            models=[champions[name] for name in (*PATHS, *own) if name in champions],
            recommended=found.recommended,
            products=found.products,
            demand=found.demand,
            reasons=found.reasons,
            effects=[one.effect for one in found.answers],
            policies=found.policies,
            experiments=[one.result for one in found.experiments],
        ),
    )


def write_answers(folder: Path, answers: Sequence[Told]) -> None:
    """Write the effects, and of each answer the memo with its pictures beside it."""
    (folder / EFFECTS_FILE).write_bytes(EFFECTS.dump_json(tuple(one.effect for one in answers), indent=2))
    for one in answers:
        write_page(folder / MEMO_PAGE.format(name=one.effect.name), one.memo, one.pictures)


def write_experiments(folder: Path, tried: Sequence[Report]) -> None:
    """Write the results, and of each the memo with its pictures beside it."""
    (folder / EXPERIMENTS_FILE).write_bytes(EXPERIMENTS.dump_json(tuple(one.result for one in tried), indent=2))
    for one in tried:
        text = illustrated(one.result.memo, one.pictures)
        write_page(folder / EXPERIMENT_PAGE.format(name=one.result.name), text, one.pictures)


def write_page(place: Path, text: str, drawn: Sequence[Picture]) -> None:
    """Write a page for people, with its pictures beside it."""
    place.parent.mkdir(parents=True)
    place.write_text(text, encoding="utf-8")
    for picture in drawn:
        (place.parent / picture.file).write_bytes(picture.content)


def write_model(folder: Path, model: Registered, rows: pa.Table) -> None:
    """Write the model, its card, and what explains it by the customers or orders in `rows`, where there are some."""
    content, card = MODEL_FILES.get(model.name) or own_model_files(model.name)
    (folder / content).parent.mkdir(exist_ok=True)
    (folder / content).write_bytes(model.content)
    (folder / card).write_text(card_of(model).model_dump_json(indent=2), encoding="utf-8")
    write_schema(folder, card_of(model))
    if explains := released_explainer(model, rows):
        (folder / explanation_file(model.name)).write_text(explains.model_dump_json(), encoding="utf-8")


def write_card(folder: Path, version: Version, model: Registered) -> None:
    """Write the card for people, with its pictures beside it."""
    place = folder / CARD_PAGE.format(name=model.name)
    place.parent.mkdir(parents=True)
    place.write_text(page(version, model), encoding="utf-8")
    for file, content in model.pictures.items():
        (place.parent / file).write_bytes(content)


def write_demand(folder: Path, model: Registered, tables: Mapping[str, pa.Table]) -> None:
    """Write the forecasts and the reorder advice, and the card of the model that made them."""
    (folder / DEMAND_CARD).parent.mkdir(exist_ok=True)
    (folder / DEMAND_CARD).write_text(card_of(model).model_dump_json(indent=2), encoding="utf-8")
    for name, rows in tables.items():
        write_products(folder, name, rows)


def write_lineage(folder: Path, made_of: Sequence[GuardedAsset]) -> None:
    """Write what each asset of the release is made of."""
    nodes = [LineageNode(key=one.key, upstream=one.upstream) for one in made_of]
    (folder / LINEAGE_FILE).write_text(Lineage(assets=tuple(nodes)).model_dump_json(), encoding="utf-8")


def shop_card(shop: Shop) -> ShopCard:
    """Which shop the release is about."""
    return ShopCard(name=shop.name, title=shop.title, currency=shop.currency)
