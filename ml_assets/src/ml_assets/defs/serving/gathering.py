"""What is released, as it is read from the lake and held against the champions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pyarrow as pa

from cartograph.releases import UnfitRelease
from cartograph.releases.contents.causal import Budget, TreatmentPolicy
from cartograph.releases.contents.files import DEMAND, REORDER
from cartograph.releases.contents.tables import CUSTOMER_COLUMNS, DEMAND_REASON_COLUMNS
from ml_assets.components.causal_question import answer_key, has_policy, policy_key, table_of
from ml_assets.components.customer_model import predictions_table
from ml_assets.components.experiment import result_table
from ml_assets.core.experiments.report import Report, read_reports
from ml_assets.core.features.order_history import history_columns
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.demand.training import NAME as DEMAND_NAME
from ml_assets.core.models.next_best_actions import CONTRACT as ADVISED
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.questions.answers import Told, read_told
from ml_assets.core.registry import Registered
from ml_assets.defs.causal.questions import of_customers, questions
from ml_assets.defs.experiments.files import experiments
from ml_assets.defs.marts import ACTIONS, PROPENSITIES, SCORES, SEGMENTS, VALUES, Pinned, sends_campaigns, tells_fraud
from ml_assets.defs.own_models import own_models
from ml_assets.defs.serving.explanations import order_rows
from ml_assets.defs.serving.kpis import ReleasedKpis, released_kpis
from ml_assets.defs.serving.lists import ordered_lists
from ml_assets.defs.serving.own_models import released_predictions
from ml_assets.defs.serving.populations import asked_about, told_population
from ml_assets.defs.serving.recommendations import Recommended, released_recommendations
from ml_assets.defs.serving.sources import OF_CUSTOMERS, own_champions

if TYPE_CHECKING:
    from cartograph.lake import Lake

SCORED_BY = {
    churn.NAME: (SCORES, "churn_model_version"),
    propensity.NAME: (PROPENSITIES, "propensity_model_version"),
    clv.NAME: (VALUES, "clv_model_version"),
    segments.NAME: (SEGMENTS, "segments_model_version"),
    campaign_uplift.NAME: (ACTIONS, "uplift_model_version"),
}
"""The tables and their columns that must name the champion: the API predicts and explains by it, too."""
_RELEASED = {
    "customer_id": "f.customer_id",
    "as_of": "f.as_of_date",
    "segment": "r.segment",
    "policies": "coalesce(asked.policies, [])",
}


class Gathered(NamedTuple):
    """What is released, as it was read from the lake.

    `predicted` is of the shop's own models; `orders` is the moment and the history that orders are judged by, and
    `judged` some orders with their features. `products` are the features of products, and `demand` the files of what
    will be asked for of them, and `reasons` tell why.
    """

    as_of: date
    customers: pa.Table
    predicted: pa.Table | None
    judged: pa.Table
    orders: tuple[int, dict[str, Any]] | None
    recommended: Recommended | None
    products: pa.Table
    demand: Mapping[str, pa.Table]
    reasons: pa.Table | None
    figures: ReleasedKpis | None
    budget: Budget | None
    answers: Sequence[Told]
    policies: Sequence[TreatmentPolicy]
    experiments: Sequence[Report]


def gathered(
    con: duckdb.DuckDBPyConnection, lake: "Lake", inputs: Pinned, as_of: date, champions: Mapping[str, Registered]
) -> Gathered:
    """Read what is released.

    Raises:
        UnfitRelease: predictions are of another version than the champion.
    """
    for name, (table, column) in SCORED_BY.items():
        if table == ACTIONS and not sends_campaigns():
            continue
        require_scored_by(con, inputs, as_of, table, column, name, champions)
    for model in own_models():
        require_scored_by(con, inputs, as_of, predictions_table(model.name), "model_version", model.name, champions)
    own, recommender = own_champions(champions), champions.get(product_recommender.NAME)

    def of(names: Iterable[str]) -> list[str]:
        return [lake.relation_sql(name, inputs.snapshots.get(name)) for name in names]

    answers = of(table_of(answer_key(question.name)) for question in questions())
    policies = of(table_of(policy_key(asked.name)) for asked in questions() if has_policy(asked))
    rules = [TreatmentPolicy.model_validate_json(text) for text in stored(con, policies, "policy")]
    told = [told_population(rule, of_customers()) for rule in rules]
    customers = released_customers(con, inputs, as_of, told)
    return Gathered(
        as_of=as_of,
        customers=customers,
        predicted=released_predictions(con, inputs, own, as_of) if own else None,
        judged=order_rows(con, inputs.selects["order_risk"]) if tells_fraud() else customers,
        orders=history_columns(con, inputs.selects, as_of) if fraud.NAME in champions else None,
        recommended=released_recommendations(con, inputs, recommender, as_of) if recommender else None,
        products=released_products(con, inputs, as_of),
        demand=released_demand(con, inputs) if DEMAND_NAME in champions else {},
        reasons=released_reasons(con, inputs) if DEMAND_NAME in champions else None,
        figures=released_kpis(con, inputs, as_of),
        budget=released_budget(con, inputs),
        answers=read_told(
            row for select in answers for row in con.execute(f"FROM ({select})").to_arrow_table().to_pylist()
        ),
        policies=told,
        experiments=read_reports(con, of(result_table(one.name) for one in experiments())),
    )


def require_scored_by(
    con: duckdb.DuckDBPyConnection,
    inputs: Pinned,
    as_of: date,
    table: str,
    column: str,
    model: str,
    champions: Mapping[str, Registered],
) -> None:
    """Raise UnfitRelease where scores are by another version of `model` than the champion, by which the API predicts.

    The scores are in `table`, and their version in its `column`.
    """
    champion, name = champions.get(model), table.split(".")[1]
    rows = con.execute(
        f"SELECT DISTINCT {column} FROM ({inputs.selects[name]}) WHERE as_of_date = $as_of", {"as_of": as_of}
    ).fetchall()
    others = sorted(row[0] for row in rows if champion is None or row[0] != champion.version)
    if others:
        raise UnfitRelease(
            f"The {name.replace('_', ' ')} of {as_of} are by version {', '.join(others)} of {model}, and the champion "
            f"is version {champion.version if champion else 'none'}. Materialize predictions/{name}, then release."
        )


def released_customers(
    con: duckdb.DuckDBPyConnection, inputs: Pinned, as_of: date, policies: Sequence[TreatmentPolicy]
) -> pa.Table:
    """All customers of the as-of date with their features, and where there are such, segments and predictions.

    Of each is told which of the `policies` are about them.
    """
    selects = inputs.selects
    con.register("asked", asked_about(con, selects["customer_features"], as_of, policies))
    predicted = " ".join(
        f"LEFT JOIN ({selects[table.split('.')[1]]}) {alias} "
        f"ON {alias}.customer_id = f.customer_id AND {alias}.as_of_date = f.as_of_date"
        for table, alias in OF_CUSTOMERS.items()
    )
    con.register("no_advice", ADVISED.arrow_schema().empty_table())
    advised = selects.get("next_best_actions", "FROM no_advice")
    customers = con.execute(
        f"""
        SELECT {", ".join(f"{_RELEASED.get(name, name)} AS {name}" for name in CUSTOMER_COLUMNS)},
            f.* EXCLUDE (customer_id, as_of_date)
        FROM ({selects["customer_features"]}) f {predicted}
        LEFT JOIN asked ON asked.customer_id = f.customer_id
        LEFT JOIN ({advised}) advised ON advised.customer_id = f.customer_id AND advised.as_of_date = f.as_of_date
        LEFT JOIN (
            SELECT customer_id, arg_max(segment, as_of_date) AS segment FROM ({selects["rfm_segments"]}) GROUP BY ALL
        ) r ON r.customer_id = f.customer_id
        WHERE f.as_of_date = $as_of ORDER BY f.customer_id""",
        {"as_of": as_of},
    ).to_arrow_table()
    place = customers.column_names.index("policies")
    return customers.set_column(place, "policies", customers["policies"].cast(CUSTOMER_COLUMNS["policies"]))


def stored(con: duckdb.DuckDBPyConnection, selects: Sequence[str], column: str) -> list[str]:
    """What tables of answers have in `column`; nothing of questions that had too little data."""
    return [row[0] for select in selects for row in con.execute(f"SELECT {column} FROM ({select})").fetchall()]


def released_budget(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> Budget | None:
    """The budget of the paid channels; None where the shop has none, or its data do not show what they do."""
    select = inputs.selects.get("budget_allocation")
    found = con.execute(f"SELECT budget FROM ({select}) LIMIT 1").fetchone() if select else None
    return Budget.model_validate_json(found[0]) if found else None


def released_products(con: duckdb.DuckDBPyConnection, inputs: Pinned, as_of: date) -> pa.Table:
    """The features of all products, of the latest date up to `as_of` that has some."""
    select = inputs.selects["product_features"]
    return con.execute(
        f"""
        SELECT product_id, as_of_date AS as_of, * EXCLUDE (product_id, as_of_date) FROM ({select})
        WHERE as_of_date = (SELECT max(as_of_date) FROM ({select}) WHERE as_of_date <= $as_of) ORDER BY product_id""",
        {"as_of": as_of},
    ).to_arrow_table()


def released_demand(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> dict[str, pa.Table]:
    """The files about demand: the latest forecasts, and the latest reorder advice where the shop counts its stock."""
    selects = inputs.selects
    latest = "as_of_date = (SELECT max(as_of_date) FROM ({select}))"
    forecasts, advice = selects["demand_forecasts"], selects.get("reorder_advice")
    found = {
        DEMAND: con.execute(
            f"""
            SELECT product_id, as_of_date AS as_of, forecast_date AS date, mean_units AS mean, low_units AS low,
                p25_units AS p25, median_units AS median, p75_units AS p75, high_units AS high,
                demand_model_version AS model_version
            FROM ({forecasts}) WHERE {latest.format(select=forecasts)}"""
        ).to_arrow_table()
    }
    if advice:
        found[REORDER] = con.execute(
            f"""
            SELECT product_id, as_of_date AS as_of, lead_days, review_days, service_level,
                expected_units AS expected_demand, reorder_point_units AS reorder_point,
                safety_stock_units AS safety_stock, stock_units AS stock, order_units AS order_quantity,
                demand_model_version AS model_version
            FROM ({advice}) WHERE {latest.format(select=advice)}"""
        ).to_arrow_table()
    return found if len(found[DEMAND]) else {}


def released_reasons(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> pa.Table | None:
    """Why each product of the latest forecasts has its own; None where nothing is forecast."""
    forecasts, explanations = inputs.selects["demand_forecasts"], inputs.selects["demand_explanations"]
    listed = {"features": "feature", "values": "feature_value", "contributions": "contribution"}
    found = con.execute(
        f"""
        SELECT product_id, demand_model_version AS model_version, any_value(base_value) AS base_value,
            {ordered_lists(listed, "feature")}
        FROM ({explanations})
        WHERE (as_of_date, demand_model_version) IN (
            SELECT (max(as_of_date), arg_max(demand_model_version, as_of_date)) FROM ({forecasts})
        )
        GROUP BY product_id, demand_model_version ORDER BY product_id"""
    ).to_arrow_table()
    return found.cast(pa.schema(list(DEMAND_REASON_COLUMNS.items()))) if len(found) else None
