"""Recommendations as an asset: the champion's lists of products for the customers of the latest as-of date."""

import dagster as dg

from cartograph.releases.contents.tables import LISTED
from ml_assets.core.models.recommendation.lists import RECOMMENDATIONS as CONTRACT
from ml_assets.core.models.recommendation.lists import product_recommendations
from ml_assets.core.models.recommendation.product_recommender import NAME
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import RECOMMENDATIONS, depends_on
from ml_assets.defs.scoring.rankings import COVERED, OFFERED, WHOLE, all_covered, only_offered, ranks_whole
from ml_assets.defs.scoring.steps import predict_latest_from
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.product_recommender import KEY as MODEL_KEY
from ml_assets.defs.training.product_recommender import MARTS

KEY = dg.AssetKey(["predictions", "product_recommendations"])


@dg.asset(
    key=KEY,
    deps=[FEATURES_KEY, MODEL_KEY, *depends_on(MARTS)],
    kinds={"iceberg"},
    tags={"domain": "customer"},
    description=(
        f"The {LISTED} products that suit each customer best on the latest as-of date, by the champion of the MLflow "
        "registry: with rank, score, source and the purchase that spoke most. Who has bought nothing yet is shown what "
        "is popular of late. Nobody has recommendations while there is no champion."
    ),
)
def recommendations(tracking: MlflowTracking) -> dg.MaterializeResult:
    """Recommend to the customers of the latest as-of date and replace its rows in the lake."""
    return predict_latest_from(MARTS, tracking, NAME, RECOMMENDATIONS, CONTRACT, product_recommendations)


@dg.asset_check(asset=KEY, name=OFFERED, blocking=True, description="Each recommended product is on sale.")
def recommends_offered_products() -> dg.AssetCheckResult:
    """Look for products that are not on sale."""
    return only_offered(RECOMMENDATIONS, "product_id")


@dg.asset_check(
    asset=KEY,
    name=WHOLE,
    blocking=True,
    description="Each customer's list is ranked from 1 on without a gap, and has each product once.",
)
def recommendations_are_ranked() -> dg.AssetCheckResult:
    """Look for gaps, repeated ranks and repeated products."""
    return ranks_whole(RECOMMENDATIONS, "customer_id", "product_id")


@dg.asset_check(
    asset=KEY,
    name=COVERED,
    blocking=True,
    description="Each customer of the as-of date has recommendations, those who have bought nothing too.",
)
def everybody_has_recommendations(tracking: MlflowTracking) -> dg.AssetCheckResult:
    """Look for customers without a list, as long as there is a product to recommend."""
    owners = "SELECT customer_id AS id FROM customers WHERE EXISTS (FROM offered)"
    return all_covered(tracking, RECOMMENDATIONS, owners, "customer_id")
