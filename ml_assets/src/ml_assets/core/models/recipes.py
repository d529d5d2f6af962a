"""How each model is made from tables alone, so that a version can be made again from its registry entry.

A recipe is the training that the model's asset runs, without what is told of it. What a version was trained from is
kept by `ml_assets.core.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import duckdb

from ml_assets.core.features.customers import Marts, as_of_dates, data_end
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.classifier import Events, Question, orders
from ml_assets.core.models.classifier_training import train_classifier
from ml_assets.core.models.demand import daily
from ml_assets.core.models.demand import training as demand_training
from ml_assets.core.models.fraud_training import train_fraud
from ml_assets.core.models.recommendation import product_recommender, purchases
from ml_assets.core.models.recommendation import training as recommender_training
from ml_assets.core.own_models.form import OwnModel, require_allowed
from ml_assets.core.own_models.question import question, register_events
from ml_assets.core.registry import NoModel, Version

T = TypeVar("T")

if TYPE_CHECKING:
    from cartograph.lake import Lake


class Origin(NamedTuple):
    """What a version was trained from beside tables: the dates of its card and of its shop, and what else was told.

    `data_end`, `horizon_days` and `designs` are those of the models that need them; `earlier` is the model by whose
    numbers segments went.
    """

    as_of: date
    shop_start: date
    shop_end: date | None
    data_end: date | None
    horizon_days: int | None
    designs: str | None
    earlier: str | None


Recipe = Callable[[duckdb.DuckDBPyConnection, Marts, Origin], bytes]
"""The exported model, of DuckDB SELECTs by the tables' own names, and of the origin."""


def _classifier(question: Question, events: Events = orders) -> Recipe:
    def recipe(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
        features = tables["customer_features"]
        dates = as_of_dates(con, features)
        span = {"data_start": origin.shop_start, "data_end": data_end(dates, origin.shop_end)}
        return train_classifier(con, question, features, events(con, tables), dates, **span).form.content

    return recipe


def _clv(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    features = tables["customer_features"]
    dates = as_of_dates(con, features)
    span = {"data_start": origin.shop_start, "data_end": data_end(dates, origin.shop_end)}
    return clv.train(con, features, tables, dates, **span).model.to_bytes()


def _fraud(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    risk, orders, refunds = tables["order_risk"], tables["fct_orders"], tables["fct_refunds"]
    end = _told(origin.data_end)
    return train_fraud(con, risk, orders, refunds, data_start=origin.shop_start, data_end=end).form.content


def _recommender(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    products = purchases.catalogue(con, tables["dim_products"])
    bought = purchases.purchases(con, tables["fct_order_items"], products, origin.as_of)
    return recommender_training.train(bought, origin.as_of).recommender.to_bytes()


def _demand(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    horizon = _told(origin.horizon_days)
    return demand_training.train(daily.read(con, tables, origin.as_of, horizon), horizon).model.to_text().encode()


def _uplift(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    marts = {name: select for name, select in tables.items() if name != "customer_features"}
    designs = campaign_uplift.designs_of(_told(origin.designs))
    return campaign_uplift.train(con, marts, designs, _told(origin.data_end)).model.to_bytes()


def _segments(con: duckdb.DuckDBPyConnection, tables: Marts, origin: Origin) -> bytes:
    features = tables["customer_features"]
    dates = as_of_dates(con, features)
    end, earlier = data_end(dates, origin.shop_end), segments.earlier_of(_told(origin.earlier))
    return segments.train(con, features, tables["fct_orders"], dates, data_end=end, earlier=earlier).model.to_bytes()


RECIPES: Mapping[str, Recipe] = {
    churn.NAME: _classifier(churn.QUESTION),
    propensity.NAME: _classifier(propensity.QUESTION),
    clv.NAME: _clv,
    fraud.NAME: _fraud,
    campaign_uplift.NAME: _uplift,
    product_recommender.NAME: _recommender,
    demand_training.NAME: _demand,
    segments.NAME: _segments,
}
"""All models but a shop's own, whose recipe is their definition."""


def rebuild(version: Version, lake: Lake) -> bytes:
    """The version made again: its recipe on the lake's snapshots that it was trained on.

    Raises:
        NoModel: there is no recipe, or the registry does not say what the version was trained from.
        SnapshotMissing: the lake has let go of a snapshot.
    """
    told = version.origin
    recipe = _own(lake, version.definition) if version.definition else RECIPES.get(version.name)
    if recipe is None:
        raise NoModel(f"There is no recipe for {version.name}: {', '.join(RECIPES)} can be made again.")
    if not version.snapshots or "shop_start" not in told or version.as_of is None:
        raise NoModel(
            f"Version {version.version} of {version.name} does not say what it was trained from: an older Cartograph "
            "registered it. Train it again."
        )
    tables = {
        table.split(".", 1)[1]: lake.relation_sql(table, snapshot) for table, snapshot in version.snapshots.items()
    }
    origin = Origin(
        as_of=date.fromisoformat(version.as_of),
        shop_start=date.fromisoformat(told["shop_start"]),
        shop_end=_date(told.get("shop_end")),
        data_end=_date(told.get("data_end")),
        horizon_days=int(told["horizon_days"]) if "horizon_days" in told else None,
        designs=told.get("designs"),
        earlier=told.get("earlier"),
    )
    with lake.connect() as con:
        return recipe(con, tables, origin)


def _own(lake: Lake, definition: str) -> Recipe:
    """The recipe of a shop's own model, by what its file said then; its estimator must be allowed now."""
    model = OwnModel.model_validate_json(definition)
    require_allowed(model, lake.settings.allowed_estimators)
    return _classifier(question(model), partial(register_events, connect=lake.connect_shut_in, model=model))


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _told(value: T | None) -> T:
    if value is None:
        raise NoModel("The version does not say what it was trained from: train it again.")
    return value
