"""The names of a release's files."""

from __future__ import annotations

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
UPLIFT_MODEL = "models/campaign_uplift.parameters.json"
UPLIFT_CARD = "models/campaign_uplift.json"
OWN_PREDICTIONS = "predictions.arrow"
RECOMMENDER = "models/product_recommender.arrow"
RECOMMENDER_CARD = "models/product_recommender.json"
RECOMMENDATIONS = "recommendations.arrow"
SIMILAR = "similar_products.arrow"
PRODUCTS = "products.arrow"
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


def own_model_files(name: str) -> tuple[str, str]:
    """The files of a shop's own model: the model and its card."""
    return f"models/{name}.onnx", f"models/{name}.json"


def explanation_file(name: str) -> str:
    """The file that splits the predictions of the model `name` among its features; a release of before has none."""
    return f"models/{name}.explanation.json"
