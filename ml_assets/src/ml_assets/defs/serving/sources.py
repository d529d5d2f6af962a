"""What a release of this shop is made of: its models, the assets of both locations, and the tables of the lake."""

from collections.abc import Mapping

import dagster as dg

from ml_assets.components.causal_question import answer_key, has_policy, policy_key, reads, table_of
from ml_assets.components.customer_model import predictions_table
from ml_assets.components.experiment import result_table
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.demand.training import NAME as DEMAND_NAME
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.registry import ModelRegistry, Registered
from ml_assets.defs.causal.budget_allocation import KEY as BUDGET_KEY
from ml_assets.defs.causal.channel_response import KEY as RESPONSE_KEY
from ml_assets.defs.causal.questions import answer_keys, questions
from ml_assets.defs.experiments.files import experiment_keys, experiments
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.features.order_risk import KEY as RISK_KEY
from ml_assets.defs.features.product_features import KEY as PRODUCTS_KEY
from ml_assets.defs.features.product_features import marts as product_marts
from ml_assets.defs.marts import (
    ACTIONS,
    ADVICE,
    BUDGET,
    EXPLANATIONS,
    FEATURES,
    FORECASTS,
    KPI_CUSTOMERS,
    KPIS,
    ORDER_RISK,
    PRODUCT_FEATURES,
    PROPENSITIES,
    RECOMMENDATIONS,
    SCORES,
    SEGMENTS,
    SIMILAR,
    VALUES,
    channel_marts,
    delivered,
    demand_marts,
    depends_on,
    feature_marts,
    published,
    risk_marts,
    sends_campaigns,
    spends_on_channels,
    tells_fraud,
)
from ml_assets.defs.own_models import own_keys, own_models
from ml_assets.defs.scoring.churn_scores import KEY as SCORES_KEY
from ml_assets.defs.scoring.customer_segments import KEY as SEGMENTS_KEY
from ml_assets.defs.scoring.demand_explanations import KEY as EXPLANATIONS_KEY
from ml_assets.defs.scoring.demand_forecasts import KEY as FORECASTS_KEY
from ml_assets.defs.scoring.lifetime_values import KEY as VALUES_KEY
from ml_assets.defs.scoring.next_best_actions import KEY as ACTIONS_KEY
from ml_assets.defs.scoring.product_recommendations import KEY as RECOMMENDATIONS_KEY
from ml_assets.defs.scoring.purchase_propensities import KEY as PROPENSITIES_KEY
from ml_assets.defs.scoring.reorder_advice import KEY as ADVICE_KEY
from ml_assets.defs.scoring.reorder_advice import counts_stock
from ml_assets.defs.scoring.similar_products import KEY as SIMILAR_KEY
from ml_assets.defs.serving.kpis import KEY as KPIS_KEY
from ml_assets.defs.serving.kpis import kpi_marts
from ml_assets.defs.training.campaign_uplift import KEY as UPLIFT_KEY
from ml_assets.defs.training.churn_classifier import KEY as CHURN_KEY
from ml_assets.defs.training.customer_lifetime_value import KEY as CLV_KEY
from ml_assets.defs.training.customer_segments import KEY as SEGMENTATION_KEY
from ml_assets.defs.training.demand_forecaster import KEY as DEMAND_MODEL_KEY
from ml_assets.defs.training.order_fraud import KEY as FRAUD_KEY
from ml_assets.defs.training.product_recommender import KEY as RECOMMENDER_KEY
from ml_assets.defs.training.purchase_propensity import KEY as PROPENSITY_KEY

MODELS = {
    churn.NAME: (CHURN_KEY, SCORES_KEY),
    propensity.NAME: (PROPENSITY_KEY, PROPENSITIES_KEY),
    segments.NAME: (SEGMENTATION_KEY, SEGMENTS_KEY),
    clv.NAME: (CLV_KEY, VALUES_KEY),
    product_recommender.NAME: (RECOMMENDER_KEY, RECOMMENDATIONS_KEY, SIMILAR_KEY),
    DEMAND_NAME: (DEMAND_MODEL_KEY, FORECASTS_KEY, EXPLANATIONS_KEY),
    fraud.NAME: (FRAUD_KEY,),
    campaign_uplift.NAME: (UPLIFT_KEY, ACTIONS_KEY),
}
"""The models of a release: where each is trained, and where it makes the predictions that are released."""
OF_CUSTOMERS = {SCORES: "churned", PROPENSITIES: "bought", SEGMENTS: "behaves", VALUES: "worth"}
"""The tables of predictions that are released as columns of the customers, and what they are called in the query."""
PREDICTIONS = (*OF_CUSTOMERS, RECOMMENDATIONS, SIMILAR, FORECASTS, EXPLANATIONS)


def models() -> list[str]:
    """The models that a release of this shop has, once they are trained."""
    absent = {fraud.NAME: not tells_fraud(), campaign_uplift.NAME: not sends_campaigns()}
    return [*(name for name in MODELS if not absent.get(name)), *(model.name for model in own_models())]


def champions_of(registry: ModelRegistry) -> dict[str, Registered]:
    """The champion of each model that has one; of the shop's own, where it was trained for what its file asks."""
    found = {name: champion for name in models() if (champion := registry.champion(name))}
    asked = {model.name: model for model in own_models()}
    return {name: one for name, one in found.items() if name not in asked or asked[name].asks_as(one.definition)}


def own_champions(champions: Mapping[str, Registered]) -> dict[str, Registered]:
    """The champions among the shop's own models."""
    return {model.name: champions[model.name] for model in own_models() if model.name in champions}


def sources() -> list[dg.AssetKey]:
    """The assets of this location that a release of this shop is made of."""
    made_by_models = [key for name in models() for key in MODELS.get(name, ())]
    return [
        *(FEATURES_KEY, PRODUCTS_KEY, KPIS_KEY, *made_by_models, *own_keys()),
        *([ADVICE_KEY] if counts_stock() else []),
        *([RISK_KEY] if tells_fraud() else []),
        *([RESPONSE_KEY, BUDGET_KEY] if spends_on_channels() else []),
        *experiment_keys(),
        *answer_keys(),
    ]


def upstream() -> list[dg.AssetKey]:
    """`sources`, and the published marts that they and the release are made of."""
    further = ("rfm_segments", "dim_products", "dim_dates", "market_basket_rules", *delivered(["dim_campaigns"]))
    of_own = [mart for one in (*own_models(), *experiments()) for mart in one.marts]
    of_budget = channel_marts() if spends_on_channels() else ()
    of_questions = [mart for question in questions() for mart in reads(question)]
    own = (*risk_marts(), *of_own, *of_budget, *of_questions)
    marts = dict.fromkeys((*feature_marts(), *product_marts(), *demand_marts(), *kpi_marts(), *own, *further))
    return [*sources(), *(dependency.asset_key for dependency in depends_on(marts))]


def read_marts() -> list[str]:
    """The marts that the release itself reads: segments, products, and what the history of orders is made of."""
    return list(dict.fromkeys(("rfm_segments", "dim_products", *risk_marts())))


def warehouse() -> list[dg.AssetKey]:
    """The marts behind the published ones: they record which snapshots of the raw tables they were built from."""
    return [dg.AssetKey(["marts", key.path[-1]]) for key in upstream() if key.path[0] == "published"]


def tables() -> list[str]:
    """The tables of the lake that a release is made of."""
    return [
        *(FEATURES, PRODUCT_FEATURES, KPIS, KPI_CUSTOMERS, *PREDICTIONS, *published(read_marts())),
        *([ADVICE] if counts_stock() else []),
        *([ORDER_RISK] if tells_fraud() else []),
        *([BUDGET] if spends_on_channels() else []),
        *([ACTIONS] if sends_campaigns() else []),
        *(table_of(answer_key(question.name)) for question in questions()),
        *(table_of(policy_key(asked.name)) for asked in questions() if has_policy(asked)),
        *(predictions_table(model.name) for model in own_models()),
        *(result_table(one.name) for one in experiments()),
    ]
