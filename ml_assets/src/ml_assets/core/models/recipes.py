"""How each model is made from tables alone, so that a version can be made again from its registry entry.

A recipe is the training that the model's asset runs, without what is told of it. What a version was trained from is
kept by `ml_assets.core.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import duckdb

from ml_assets.core.features.customers import Marts, as_of_dates, data_end
from ml_assets.core.models import churn, clv, propensity
from ml_assets.core.models.classifier import Question
from ml_assets.core.models.classifier_training import train_classifier
from ml_assets.core.registry import NoModel, Version

if TYPE_CHECKING:
    from cartograph.lake import Lake

Recipe = Callable[[duckdb.DuckDBPyConnection, Marts, Sequence[date], date, date], bytes]
"""The exported model, of DuckDB SELECTs by the tables' own names, the as-of dates, and the data's half-open span."""


def _classifier(question: Question) -> Recipe:
    def recipe(
        con: duckdb.DuckDBPyConnection, tables: Marts, dates: Sequence[date], data_start: date, data_end: date
    ) -> bytes:
        features, orders = tables["customer_features"], tables["fct_orders"]
        trained = train_classifier(con, question, features, orders, dates, data_start=data_start, data_end=data_end)
        return trained.form.content

    return recipe


def _clv(
    con: duckdb.DuckDBPyConnection, tables: Marts, dates: Sequence[date], data_start: date, data_end: date
) -> bytes:
    features = tables["customer_features"]
    return clv.train(con, features, tables, dates, data_start=data_start, data_end=data_end).model.to_bytes()


RECIPES: Mapping[str, Recipe] = {
    churn.NAME: _classifier(churn.QUESTION),
    propensity.NAME: _classifier(propensity.QUESTION),
    clv.NAME: _clv,
}


def rebuild(version: Version, lake: Lake) -> bytes:
    """The version made again: its recipe on the lake's snapshots that it was trained on.

    Raises:
        NoModel: there is no recipe, or the registry does not say what the version was trained from.
        SnapshotMissing: the lake has let go of a snapshot.
    """
    recipe, origin = RECIPES.get(version.name), version.origin
    if recipe is None:
        raise NoModel(f"There is no recipe for {version.name}: {', '.join(RECIPES)} can be made again.")
    if not version.snapshots or "shop_start" not in origin:
        raise NoModel(
            f"Version {version.version} of {version.name} does not say what it was trained from: an older Cartograph "
            "registered it. Train it again."
        )
    tables = {
        table.split(".", 1)[1]: lake.relation_sql(table, snapshot) for table, snapshot in version.snapshots.items()
    }
    start, end = date.fromisoformat(origin["shop_start"]), origin.get("shop_end")
    with lake.connect() as con:
        dates = as_of_dates(con, tables["customer_features"])
        return recipe(con, tables, dates, start, data_end(dates, date.fromisoformat(end) if end else None))
