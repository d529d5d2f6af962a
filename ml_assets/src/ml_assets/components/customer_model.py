"""A shop's own model as a component: its model asset with checks, that of its predictions, and those that watch it.

The form of its attributes is `ml_assets.core.own_models.form`; training, tracking and the gate are those of the other
classifiers. Which files there are is `ml_assets.defs.own_models`'s business.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial

import dagster as dg
import duckdb
import pyarrow as pa

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ml_assets.core.evaluation.classification import MEASURES
from ml_assets.core.features.customers import Marts
from ml_assets.core.models.scoring import score
from ml_assets.core.monitoring import backtests, realised
from ml_assets.core.monitoring.quality import Point, table_of
from ml_assets.core.own_models.estimators import try_out
from ml_assets.core.own_models.form import OwnModel, require_allowed
from ml_assets.core.own_models.question import about, contract, question, register_events, require_windows
from ml_assets.core.registry import Registered
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import depends_on, open_lake, plain_failures
from ml_assets.defs.monitoring.backtests import Recipe, backtest_asset
from ml_assets.defs.monitoring.quality import CALIBRATED, Watched, quality_asset
from ml_assets.defs.scoring.steps import look_for, predict_latest
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.classifiers import judge, specs_of_any, train_and_register
from ml_assets.defs.training.promotion import challenger_is_fit

_WRONG = "coalesce(probability NOT BETWEEN 0 AND 1, true)"


class CustomerModel(OwnModel, dg.Component, dg.Resolvable):
    """A yes or no about customers: `models/<name>`, `predictions/<name>_predictions`, and what watches them."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The model, its predictions, what became of these and the recipe at past dates, each with its checks."""
        return dg.Definitions(
            assets=[
                model_asset(self),
                predictions_asset(self),
                quality_asset(watched(self)),
                backtest_asset(recipe(self)),
            ],
            asset_checks=[challenger_is_fit(self.name), probabilities_check(self)],
        )


def model_key(name: str) -> dg.AssetKey:
    """The asset that trains the model."""
    return dg.AssetKey(["models", name])


def predictions_key(name: str) -> dg.AssetKey:
    """The asset of its predictions."""
    return dg.AssetKey(["predictions", f"{name}_predictions"])


def predictions_table(name: str) -> str:
    """The lake's table of its predictions."""
    return ".".join(predictions_key(name).path)


def watched(model: OwnModel) -> Watched:
    """How the model's predictions are held against what came."""
    return Watched(
        table_of(model.name),
        predictions_table(model.name),
        f"predictions of what the file asks that are {model.target.within_days} days old",
        _bars(model),
        "customer",
        (),
        model.marts,
        realised.of_classifier(question(model), "probability", "model_version", partial(own_events, model)),
        model,
    )


def recipe(model: OwnModel) -> Recipe:
    """How the model is tried at past dates."""

    def points(con: duckdb.DuckDBPyConnection, tables: Marts, dates: Sequence[date], **span: date) -> Iterator[Point]:
        require_usable(model)
        return backtests.of_classifier(question(model), con, tables, dates, events=partial(own_events, model), **span)

    return Recipe(f"{model.name}_backtest", _bars(model), model.marts, points, model.owner)


def _bar(model: OwnModel) -> str:
    """What it must reach by its measure, in words."""
    baseline = model.baseline
    rule = f"sorting by {baseline.feature}, {baseline.order}" if baseline else "predicting the same share for all"
    more = f" by more than {model.margin:g}" if model.margin else ""
    return f"above that of {rule}{more}"


def _bars(model: OwnModel) -> str:
    """What predictions are held to, in words."""
    return f"had {MEASURES[model.metric]} {_bar(model)}, and {CALIBRATED}"


def model_asset(model: OwnModel) -> dg.AssetsDefinition:
    """The asset that trains, judges and registers the model."""
    key = model_key(model.name)
    bar = f"Its {MEASURES[model.metric].words} is {_bar(model)}, beyond chance."

    @dg.asset(
        key=key,
        deps=[FEATURES_KEY, *depends_on(model.marts)],
        kinds={"scikitlearn", "onnx", "mlflow"},
        owners=[model.owner],
        tags={"domain": "customer"},
        metadata={"definition": dg.MetadataValue.json(model.model_dump(mode="json"))},
        check_specs=specs_of_any(key, bar),
        description=(
            f"{model.description} One of the shop's own models: a {model.estimator.path.rpartition('.')[2]} with "
            "sigmoid calibration, trained on early as-of dates, evaluated on the latest whose outcome is known, kept "
            "as ONNX in the MLflow registry."
        ),
    )
    def _model(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
        with plain_failures():
            require_usable(model)
        return train_and_register(
            context,
            tracking,
            question(model),
            judge,
            about(model),
            marts=model.marts,
            events=partial(own_events, model),
            own=model,
        )

    return _model


def require_usable(model: OwnModel) -> None:
    """Raise OwnModelError where the model's estimator is not allowed, or cannot be fitted and exported exactly."""
    require_allowed(model, get_settings().allowed_estimators)
    try_out(model.estimator)


def own_events(model: OwnModel, con: duckdb.DuckDBPyConnection, selects: Marts) -> str:
    """The SELECT of the target's events, once its labels are of their windows."""
    connect, shop = open_lake().connect_shut_in, load_shop(get_settings())
    require_windows(con, selects, connect=connect, model=model, shop_start=shop.start, shop_end=shop.end)
    return register_events(con, selects, connect=connect, model=model)


def predictions_asset(model: OwnModel) -> dg.AssetsDefinition:
    """The asset of the champion's probabilities for the latest as-of date."""
    asked, columns = question(model), contract(model)

    def predict(con: duckdb.DuckDBPyConnection, features: str, champion: Registered | None, as_of: date) -> pa.Table:
        answering = champion if champion and model.asks_as(champion.definition) else None
        return score(con, asked, columns, features, answering, as_of)

    @dg.asset(
        key=predictions_key(model.name),
        deps=[FEATURES_KEY, model_key(model.name)],
        kinds={"onnx", "iceberg"},
        owners=[model.owner],
        tags={"domain": "customer"},
        description=(
            f"{model.description} The probability for each customer whom it is asked of, on the latest as-of date, by "
            "the champion of the MLflow registry. Nobody has one while there is no champion, or one that was trained "
            "for another target or population than the file has by now."
        ),
    )
    def _predictions(tracking: MlflowTracking) -> dg.MaterializeResult:
        return predict_latest(tracking, model.name, predictions_table(model.name), columns, predict)

    return _predictions


def probabilities_check(model: OwnModel) -> dg.AssetChecksDefinition:
    """The check that predictions are probabilities."""
    name = "scores_are_probabilities"

    @dg.asset_check(
        asset=predictions_key(model.name),
        name=name,
        blocking=True,
        description="Each prediction is a probability, and nobody has two.",
    )
    def _check() -> dg.AssetCheckResult:
        table = predictions_table(model.name)
        return look_for(_WRONG, table, contract(model), name, expected="a probability", found="not in [0, 1]")

    return _check
