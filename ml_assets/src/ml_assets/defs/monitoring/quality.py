"""What became of the predictions that were made, as an asset for each model that has outcomes, with a check that warns.

How outcomes are found and what the figures are held to is `ml_assets.core.monitoring.realised`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import dagster as dg
import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.settings import get_settings
from cartograph.trust.evidence import checked
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn, clv, fraud, propensity
from ml_assets.core.models.demand import training as demand_training
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.models.recommendation.training import HORIZON_DAYS as LIST_DAYS
from ml_assets.core.monitoring import realised
from ml_assets.core.monitoring.quality import TABLES, contract, figure_of, is_held, latest, rows_of
from ml_assets.core.own_models.form import OwnModel
from ml_assets.core.own_models.question import asked_alike
from ml_assets.core.registry import CHALLENGER, CHAMPION, ModelRegistry
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    DEMAND,
    FEATURES,
    FORECASTS,
    FRAUD_SCORES,
    ORDER_RISK,
    PROPENSITIES,
    RECOMMENDATIONS,
    SCORES,
    VALUES,
    delivered,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
    tells_fraud,
)
from ml_assets.defs.metadata import markdown_table, table_metadata
from ml_assets.defs.partitions import data_end
from ml_assets.defs.scoring.steps import shadow_of
from ml_assets.defs.tracking import MlflowTracking

HELD = "predictions_held"


class Watched(NamedTuple):
    """A lake table of predictions, and how they are held against what came.

    `dataset` names the asset; `since` says which predictions can be judged, and `bars` what they are held to. `tables`
    are other tables of this location, `marts` published ones. `own` is the shop's own model, where it is one.
    """

    dataset: str
    predictions: str
    since: str
    bars: str
    domain: str
    tables: tuple[str, ...]
    marts: tuple[str, ...]
    realised: realised.Realised
    own: OwnModel | None = None


CALIBRATED = "the probabilities were off by at most 0.10 on average over tenths"
PROBABILITIES = f"ranked better than a rule does, and {CALIBRATED}"
WATCHED = (
    Watched(
        TABLES[churn.NAME],
        SCORES,
        f"predictions that are {churn.HORIZON_DAYS} days old",
        PROBABILITIES,
        "customer",
        (),
        ("fct_orders",),
        realised.of_classifier(churn.QUESTION, "churn_probability", "churn_model_version"),
    ),
    Watched(
        TABLES[propensity.NAME],
        PROPENSITIES,
        f"predictions that are {propensity.HORIZON_DAYS} days old",
        PROBABILITIES,
        "customer",
        (),
        ("fct_orders",),
        realised.of_classifier(propensity.QUESTION, "purchase_probability", "propensity_model_version"),
    ),
    Watched(
        TABLES[clv.NAME],
        VALUES,
        f"values that are {realised.ORDER_DAYS} days old; of revenue, {clv.HORIZON_DAYS}",
        "came true in total within 20 %, and were nearer to each customer's than their own rate or last year were",
        "customer",
        (),
        ("fct_orders", "fct_refunds"),
        realised.of_values,
    ),
    Watched(
        TABLES[demand_training.NAME],
        FORECASTS,
        "forecasts whose last day is over",
        "had a weighted RMSSE below that of the week before repeated, a total within 25 %, and intervals that held "
        "80 % of the days or more",
        "product",
        (DEMAND,),
        ("dim_dates",),
        realised.of_forecasts,
    ),
    Watched(
        TABLES[fraud.NAME],
        FRAUD_SCORES,
        f"{fraud.FEWEST_HELD_OUT} frauds among scored orders that are {fraud.MATURITY_DAYS} days old",
        "ranked better than rules did, cost less than no review would have, and expected as many frauds as came, "
        "within a factor of 2",
        "finance",
        (ORDER_RISK,),
        ("fct_orders", "fct_refunds"),
        realised.of_fraud,
    ),
    Watched(
        TABLES[product_recommender.NAME],
        RECOMMENDATIONS,
        f"lists that are {LIST_DAYS} days old",
        "had an NDCG@10 above that of listing what all bought most",
        "customer",
        (),
        ("fct_order_items", "dim_products"),
        realised.of_lists,
    ),
)


@dg.definitions
def quality_definitions() -> dg.Definitions:
    """An asset for each table of predictions that the shop has."""
    return dg.Definitions(
        assets=[quality_asset(one) for one in WATCHED if one.predictions != FRAUD_SCORES or tells_fraud()]
    )


def quality_asset(watched: Watched) -> dg.AssetsDefinition:
    """The asset `monitoring/<dataset>` and its check."""
    key = dg.AssetKey(["monitoring", watched.dataset])
    made = contract(watched.dataset, "A figure of predictions made in time whose outcomes are known, on an as-of date.")
    others = [dg.AssetKey(table.split(".")) for table in (*watched.tables, watched.predictions)]

    @dg.asset(
        key=key,
        deps=[FEATURES_KEY, *others, *depends_on(delivered(watched.marts))],
        kinds={"iceberg"},
        owners=[watched.own.owner] if watched.own else None,
        tags={"domain": watched.domain},
        check_specs=[
            dg.AssetCheckSpec(HELD, asset=key, description=f"The champion's latest {watched.since} {watched.bars}.")
        ],
        description=(
            f"What became of `{watched.predictions}`, of the champion and of the challenger that predicted aside: all "
            f"{watched.since}, held against what came."
        ),
    )
    def quality(tracking: MlflowTracking) -> dg.MaterializeResult:
        """Judge all predictions whose outcome is known, and replace the table."""
        lake = open_lake()
        aside = shadow_of(watched.predictions)
        roles = {CHAMPION: watched.predictions} | ({CHALLENGER: aside} if lake.exists(aside) else {})
        with plain_failures():
            inputs = pin(lake, [FEATURES, *watched.tables, *roles.values(), *published(delivered(watched.marts))])
            predictions = {role: inputs.selects[table.split(".")[1]] for role, table in roles.items()}
            with lake.connect() as con:
                if own := watched.own:
                    versions = ModelRegistry(tracking.uri).versions(own.name)
                    predictions = {role: asked_alike(con, one, own, versions) for role, one in predictions.items()}
                end = data_end(as_of_dates(con, inputs.selects["customer_features"]))
                rows = [
                    row
                    for role, one in predictions.items()
                    for row in rows_of(role, watched.realised(con, one, inputs.selects, end))
                ]
            table = made.arrow_table(rows)
            write(made, table)
        return dg.MaterializeResult(
            metadata=metadata(made, table, inputs.snapshots),
            check_results=[judge(HELD, latest(table, CHAMPION), watched.since)],
        )

    return quality


def write(made: Contract, table: pa.Table) -> None:
    """Replace the lake's table of `monitoring`."""
    lake, identifier = open_lake(), f"monitoring.{made.dataset}"
    lake.ensure(identifier, made, get_settings().partition_grain)
    with lake.overwriting(identifier, None) as writer:
        writer.write(table)


def judge(check: str, table: pa.Table, needed: str) -> dg.AssetCheckResult:
    """Whether the figures of a `quality.contract` table are within what they are held to; a warning where not."""
    if not len(table):
        return checked(
            check, True, expected=needed, found="none", description=f"cannot judge yet: there are no {needed}"
        )
    rows = table.to_pylist()
    judged = [row for row in rows if row["at_least"] is not None or row["at_most"] is not None]
    broken = [row for row in judged if not is_held(figure_of(row))]
    return checked(
        check,
        not broken,
        expected="; ".join(_told(row, bar=True) for row in broken or judged),
        found="; ".join(_told(row) for row in broken or judged),
        samples=sorted({_who(row) for row in broken}),
        severity="warning",
        metadata={row["metric"]: row["value"] for row in rows if row["as_of_date"] == rows[-1]["as_of_date"]},
    )


def metadata(made: Contract, table: pa.Table, snapshots: dict[str, int]) -> dict[str, Any]:
    """What the materialisation shows: the curve."""
    rows = table.sort_by([("as_of_date", "ascending"), ("role", "ascending")]).to_pylist()
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    points: dict[tuple[object, ...], dict[str, float]] = {}
    for row in rows:
        point = (row["as_of_date"], row["role"], row["model_version"] or "–", row["rows"])
        points.setdefault(point, {})[row["metric"]] = row["value"]
    curve = [(*point, *_shown(found, metrics)) for point, found in points.items()]
    header = ("as-of date", "role", "version", "rows", *metrics)
    return table_metadata(made, len(table), snapshots) | {"curve": markdown_table(header, curve)}


def _shown(found: dict[str, float], metrics: Iterable[str]) -> list[str]:
    return [f"{found[metric]:.3f}" if metric in found else "–" for metric in metrics]


def _told(row: dict[str, Any], *, bar: bool = False) -> str:
    if not bar:
        return f"{row['as_of_date']}: {row['metric']} {row['value']:.3f}"
    bounds = (("at least", row["at_least"]), ("at most", row["at_most"]))
    held_to = " and ".join(f"{word} {bound:.3f}" for word, bound in bounds if bound is not None)
    return f"{row['metric']} of {held_to}"


def _who(row: dict[str, Any]) -> str:
    return f"version {row['model_version']}" if row["model_version"] else str(row["as_of_date"])
