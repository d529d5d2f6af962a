"""How good the recipes of models were at past dates, as assets with a check that warns.

Where training a model six times over costs too much for each run, there is no such asset: fraud, demand and
recommendations are backtested over the windows of their training alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import NamedTuple

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn, propensity
from ml_assets.core.monitoring import backtests
from ml_assets.core.monitoring.quality import RECIPE, Point, contract, latest, rows_of
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import FEATURES, delivered, depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.monitoring.quality import judge, metadata, write
from ml_assets.defs.partitions import data_end

BEATS_THROUGHOUT = "has_beaten_the_baseline"
JUDGED = 3
"""Of the latest dates; earlier ones had little to learn from."""


class Recipe(NamedTuple):
    """A recipe to be tried at past dates; `bars` says what it is held to. Without an `owner` it is the location's."""

    dataset: str
    bars: str
    marts: tuple[str, ...]
    points: Callable[..., Iterator[Point]]
    owner: str | None = None


RECIPES = (
    Recipe(
        "churn_backtest",
        "ranked customers better than recency did",
        ("fct_orders",),
        partial(backtests.of_classifier, churn.QUESTION),
    ),
    Recipe(
        "propensity_backtest",
        "ranked customers better than recency and frequency did",
        ("fct_orders",),
        partial(backtests.of_classifier, propensity.QUESTION),
    ),
    Recipe(
        "lifetime_value_backtest",
        "predicted what customers spent better than what they had spent before, and the total within 20 %",
        ("fct_orders", "fct_order_items", "fct_refunds"),
        backtests.of_values,
    ),
)


@dg.definitions
def backtest_definitions() -> dg.Definitions:
    """An asset for each recipe."""
    return dg.Definitions(assets=[backtest_asset(recipe) for recipe in RECIPES])


def backtest_asset(recipe: Recipe) -> dg.AssetsDefinition:
    """The asset `monitoring/<dataset>` and its check."""
    key = dg.AssetKey(["monitoring", recipe.dataset])
    made = contract(recipe.dataset, "A figure of the recipe on a past as-of date, trained on what was known then.")

    @dg.asset(
        key=key,
        deps=[FEATURES_KEY, *depends_on(delivered(recipe.marts))],
        kinds={"iceberg"},
        owners=[recipe.owner] if recipe.owner else None,
        tags={"domain": "customer"},
        check_specs=[
            dg.AssetCheckSpec(
                BEATS_THROUGHOUT,
                asset=key,
                description=f"At each of the latest {JUDGED} dates, the model {recipe.bars}.",
            )
        ],
        description=(
            f"The model's recipe at {backtests.POINTS} past as-of dates: trained anew at each from what was known "
            "then, and held against what came."
        ),
    )
    def backtest() -> dg.MaterializeResult:
        """Train and score at the past dates, and replace the table."""
        lake = open_lake()
        with plain_failures():
            inputs = pin(lake, [FEATURES, *published(delivered(recipe.marts))])
            with lake.connect() as con:
                dates = as_of_dates(con, inputs.selects["customer_features"])
                span: dict[str, date] = {"data_start": load_shop(get_settings()).start, "data_end": data_end(dates)}
                table = made.arrow_table(rows_of(RECIPE, recipe.points(con, inputs.selects, dates, **span)))
            write(made, table)
        return dg.MaterializeResult(
            metadata=metadata(made, table, inputs.snapshots),
            check_results=[
                judge(BEATS_THROUGHOUT, latest(table, RECIPE, JUDGED), "past dates with enough to train on")
            ],
        )

    return backtest
