"""Similar products as an asset: what goes with each product, by the champion and by the orders that held both."""

import dagster as dg

from cartograph.releases.contents.tables import LISTED
from ml_assets.core.models.recommendation.lists import SIMILAR_PRODUCTS as CONTRACT
from ml_assets.core.models.recommendation.lists import similar_products
from ml_assets.core.models.recommendation.product_recommender import NAME
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import SIMILAR, depends_on
from ml_assets.defs.scoring.rankings import COVERED, OFFERED, WHOLE, all_covered, only_offered, ranks_whole
from ml_assets.defs.scoring.steps import predict_latest_from
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.product_recommender import KEY as MODEL_KEY

KEY = dg.AssetKey(["predictions", "similar_products"])
MARTS = ("dim_products", "market_basket_rules")


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY, *depends_on(MARTS)],
    kinds={"iceberg"},
    tags={"domain": "catalog"},
    description=(
        f"For each product the {LISTED} that its purchase leads to by the champion of the MLflow registry, and up to "
        f"{LISTED} that often stand in the same order. Empty while there is no champion."
    ),
)
def similar(tracking: MlflowTracking) -> dg.MaterializeResult:
    """List what goes with each product on the latest as-of date and replace its rows in the lake."""
    return predict_latest_from(MARTS, tracking, NAME, SIMILAR, CONTRACT, similar_products)


@dg.asset_check(asset=KEY, name=OFFERED, blocking=True, description="Each listed product is on sale.")
def lists_offered_products() -> dg.AssetCheckResult:
    """Look for products that are not on sale."""
    return only_offered(SIMILAR, "similar_product_id")


@dg.asset_check(
    asset=KEY,
    name=WHOLE,
    blocking=True,
    description="Each product's list in a relation is ranked from 1 on without a gap, and has each product once.",
)
def lists_are_ranked() -> dg.AssetCheckResult:
    """Look for gaps, repeated ranks and repeated products."""
    return ranks_whole(SIMILAR, "concat(product_id, ' ', relation)", "similar_product_id")


@dg.asset_check(asset=KEY, name=COVERED, blocking=True, description="Each product has similar ones.")
def every_product_has_similar_ones(tracking: MlflowTracking) -> dg.AssetCheckResult:
    """Look for products without a list, as long as there is another product to list."""
    owners = """
        SELECT product_id AS id FROM products p
        WHERE EXISTS (FROM offered o WHERE o.product_id <> p.product_id)"""
    return all_covered(tracking, SIMILAR, owners, "product_id")
