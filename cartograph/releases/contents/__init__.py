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

from cartograph.releases.contents.base import ContentError, ShopCard
from cartograph.releases.contents.causal import (
    EFFECTS,
    POLICIES,
    Budget,
    BudgetLine,
    ChannelResponse,
    Effect,
    EffectCheck,
    Estimated,
    PolicyFeature,
    PolicyNode,
    PolicyRule,
    TreatmentPolicy,
)
from cartograph.releases.contents.experiments import (
    EXPERIMENTS,
    ExperimentEstimate,
    ExperimentResult,
    ExperimentSegment,
)
from cartograph.releases.contents.files import (
    BUDGET_FILE,
    CARD_PAGE,
    CHURN_CARD,
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMERS,
    DEMAND,
    DEMAND_CARD,
    EFFECTS_FILE,
    EXPERIMENT_PAGE,
    EXPERIMENTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
    GOLDEN,
    KPI_CUSTOMERS,
    KPI_FILE,
    KPIS,
    LINEAGE_FILE,
    MEMO_PAGE,
    ORDER_HISTORY,
    OWN_PREDICTIONS,
    POLICIES_FILE,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    RECOMMENDATIONS,
    RECOMMENDER,
    RECOMMENDER_CARD,
    REORDER,
    SCHEMA_FILE,
    SHOP,
    SIMILAR,
    explanation_file,
    own_model_files,
)
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.kpis import KPI_COLUMNS, KPI_CUSTOMER_COLUMNS, KPI_LIST, Kpi, open_kpis, write_kpis
from cartograph.releases.contents.lineage import Lineage, LineageNode
from cartograph.releases.contents.models import (
    ONNX_INPUT,
    ONNX_OUTPUT,
    Explainer,
    FeatureSpec,
    ModelCard,
    Review,
    TreeNodes,
    input_schema,
    write_schema,
)
from cartograph.releases.contents.tables import (
    CUSTOMER_COLUMNS,
    DEMAND_COLUMNS,
    LISTED,
    PREDICTION_COLUMNS,
    PRODUCT_FILES,
    RECOMMENDATION_COLUMNS,
    REORDER_COLUMNS,
    SIMILAR_COLUMNS,
    mark_personal,
    open_customers,
    open_lists,
    open_products,
    personal_columns,
    write_customers,
    write_lists,
    write_products,
)

__all__ = [
    "BUDGET_FILE",
    "CARD_PAGE",
    "CHURN_CARD",
    "CHURN_MODEL",
    "CLV_CARD",
    "CLV_MODEL",
    "CUSTOMERS",
    "CUSTOMER_COLUMNS",
    "DEMAND",
    "DEMAND_CARD",
    "DEMAND_COLUMNS",
    "EFFECTS",
    "EFFECTS_FILE",
    "EXPERIMENTS",
    "EXPERIMENTS_FILE",
    "EXPERIMENT_PAGE",
    "FRAUD_CARD",
    "FRAUD_MODEL",
    "GOLDEN",
    "KPIS",
    "KPI_COLUMNS",
    "KPI_CUSTOMERS",
    "KPI_CUSTOMER_COLUMNS",
    "KPI_FILE",
    "KPI_LIST",
    "LINEAGE_FILE",
    "LISTED",
    "MEMO_PAGE",
    "ONNX_INPUT",
    "ONNX_OUTPUT",
    "ORDER_HISTORY",
    "OWN_PREDICTIONS",
    "POLICIES",
    "POLICIES_FILE",
    "PREDICTION_COLUMNS",
    "PRODUCT_FILES",
    "PROPENSITY_CARD",
    "PROPENSITY_MODEL",
    "RECOMMENDATIONS",
    "RECOMMENDATION_COLUMNS",
    "RECOMMENDER",
    "RECOMMENDER_CARD",
    "REORDER",
    "REORDER_COLUMNS",
    "SCHEMA_FILE",
    "SHOP",
    "SIMILAR",
    "SIMILAR_COLUMNS",
    "Budget",
    "BudgetLine",
    "ChannelResponse",
    "ContentError",
    "Effect",
    "EffectCheck",
    "Estimated",
    "ExperimentEstimate",
    "ExperimentResult",
    "ExperimentSegment",
    "Explainer",
    "FeatureSpec",
    "Golden",
    "GoldenRequest",
    "Kpi",
    "Lineage",
    "LineageNode",
    "ModelCard",
    "PolicyFeature",
    "PolicyNode",
    "PolicyRule",
    "Review",
    "ShopCard",
    "TreatmentPolicy",
    "TreeNodes",
    "explanation_file",
    "input_schema",
    "mark_personal",
    "open_customers",
    "open_kpis",
    "open_lists",
    "open_products",
    "own_model_files",
    "personal_columns",
    "write_customers",
    "write_kpis",
    "write_lists",
    "write_products",
    "write_schema",
]
