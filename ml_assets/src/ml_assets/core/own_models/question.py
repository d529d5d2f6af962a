"""What follows from a model's file: the question that is trained and judged as any other, and the scores' table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import Column, Contract
from ml_assets.core.features.customers import Marts, as_of_dates, data_end
from ml_assets.core.models.about import ERASED, NO_CAUSE, OF_BEHAVIOUR
from ml_assets.core.models.classifier import Question, Vector, split
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.report import About
from ml_assets.core.own_models.estimators import steps
from ml_assets.core.own_models.form import FeatureRule, OwnModel
from ml_assets.core.own_models.target import Connect, read_events
from ml_assets.core.own_models.window import require_in_window
from ml_assets.core.registry import Version

LABEL = "is_positive"
SPACING_DAYS = 28
MOST_HELD = 8
"""As-of dates: 21 took 2 to 8 seconds of a busy processor with 150,000 order lines; a shop may have more of both."""


def question(model: OwnModel) -> Question:
    """The model's question."""
    return Question(
        name=model.name,
        title=f"The model {model.name}",
        label=LABEL,
        is_event=model.target.happens,
        horizon_days=model.target.within_days,
        population=f"{model.population}\n",
        spacing_days=SPACING_DAYS,
        rules=rules(model.baseline),
        events="FROM ({events})",
        is_about_orders=False,
        features=model.features,
        steps=lambda _: steps(model.estimator),
        measure=model.metric,
        margin=model.margin,
    )


def about(model: OwnModel) -> About:
    """What begins the model's card, in the words of its file."""
    window = f"in the {model.target.within_days} days from the as-of date on"
    return About(
        title=model.name.replace("_", " ").capitalize(),
        purpose=model.description,
        target=f"Whether {'an' if model.target.happens else 'no'} event comes {window}: {model.target.events.strip()}",
        population=f"Registered customers with: {model.population.strip()}",
        limits=(NO_CAUSE,),
        ethics=(OF_BEHAVIOUR, ERASED),
    )


def rules(baseline: FeatureRule | None) -> Mapping[str, Callable[[pa.Table], Vector]]:
    """The baseline: sorting by a feature, nulls last; or without one the share that is true of the very rows."""
    if baseline is None:
        return {"prior": lambda rows: np.full(len(rows), rows[LABEL].to_numpy().mean())}
    sign = 1.0 if baseline.order == "descending" else -1.0

    def sorts(rows: pa.Table) -> Vector:
        values: Vector = rows[baseline.feature].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.nan_to_num(sign * values, nan=float(np.finfo(np.float64).min))

    return {f"{baseline.feature}_rule": sorts}


def require_windows(
    con: duckdb.DuckDBPyConnection,
    tables: Marts,
    *,
    connect: Connect,
    model: OwnModel,
    shop_start: date,
    shop_end: date | None,
) -> None:
    """Hold the target's labels, on the as-of dates that the model is trained and judged on, against their windows.

    Of more than `MOST_HELD` dates as many are held as are spread over them, the one that it is judged on among them. A
    shop that is too young for the model has no such dates, as training says.

    Raises:
        OwnModelError: what was known before the windows, or what came after them, decides on the labels.
    """
    known = as_of_dates(con, tables["customer_features"])
    try:
        dates = split(question(model), known, data_start=shop_start, data_end=data_end(known, shop_end))
    except NotEnoughData:
        return
    labelled = [*dates.training, dates.holdout]
    places = np.unique(np.linspace(0, len(labelled) - 1, MOST_HELD).round().astype(int))
    held = [labelled[place] for place in places]
    require_in_window(connect, model.target.events, tables, held, model.target.within_days)


def register_events(con: duckdb.DuckDBPyConnection, tables: Marts, *, connect: Connect, model: OwnModel) -> str:
    """The SELECT of the target's events on `con`, read over a connection of `connect` that reaches the lake only.

    Raises:
        OwnModelError: the target's SELECT cannot be run.
    """
    con.register("own_events", read_events(connect, model.target.events, tables))
    return "FROM own_events"


def asked_alike(con: duckdb.DuckDBPyConnection, predictions: str, model: OwnModel, versions: Iterable[Version]) -> str:
    """The SELECT of those `predictions` whose version was trained for what the model's file asks by now.

    `versions` are all that there are of the model; a target that has changed since gives other labels.
    """
    asking = [one.version for one in versions if model.asks_as(one.definition)]
    con.register("asking_versions", pa.table({"model_version": pa.array(asking, pa.string())}))
    return f"FROM ({predictions}) SEMI JOIN asking_versions USING (model_version)"


def contract(model: OwnModel) -> Contract:
    """The table of the model's probabilities."""
    what = "an event" if model.target.happens else "no event"
    return Contract(
        dataset=f"{model.name}_predictions",
        grain=f"A customer whom {model.name} is asked of, on an as-of date.",
        key=("customer_id", "as_of_date"),
        event_time="as_of_date",
        columns=(
            Column(name="customer_id", type="string", description="The customer."),
            Column(name="as_of_date", type="date", description="The score rests on what was known before this day."),
            Column(
                name="probability",
                type="double",
                description=f"Probability of {what} in the next {model.target.within_days} days.",
            ),
            Column(name="model_version", type="string", description=f"The version of models/{model.name}."),
        ),
    )
