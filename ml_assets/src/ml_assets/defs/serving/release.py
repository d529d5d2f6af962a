"""The release as an asset: what the graph trusts, written as one immutable folder and made current.

The form of the files is `cartograph.releases.contents`; how they are kept is the rest of `cartograph.releases`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from cartograph.releases import Manifest, Override, ReleaseInputs, ReleaseStore, UnfitRelease, open_store
from cartograph.releases.contents import (
    BUDGET_FILE,
    CARD_PAGE,
    CHURN_CARD,
    CHURN_MODEL,
    CLV_CARD,
    CLV_MODEL,
    CUSTOMER_COLUMNS,
    CUSTOMERS,
    DEMAND,
    DEMAND_CARD,
    EFFECTS,
    EFFECTS_FILE,
    EXPERIMENT_PAGE,
    EXPERIMENTS,
    EXPERIMENTS_FILE,
    FRAUD_CARD,
    FRAUD_MODEL,
    LINEAGE_FILE,
    MEMO_PAGE,
    ORDER_HISTORY,
    OWN_PREDICTIONS,
    POLICIES,
    POLICIES_FILE,
    PREDICTION_COLUMNS,
    PROPENSITY_CARD,
    PROPENSITY_MODEL,
    REORDER,
    SHOP,
    Budget,
    Lineage,
    LineageNode,
    ShopCard,
    TreatmentPolicy,
    explanation_file,
    mark_personal,
    own_model_files,
    write_customers,
    write_lists,
    write_products,
    write_schema,
)
from cartograph.releases.order_history import write_history
from cartograph.settings import Settings, get_settings
from cartograph.shops import Shop, load_shop
from cartograph.trust.asset_graph import GuardedAsset
from cartograph.trust.evidence import checked
from cartograph.trust.gate import check_outcomes
from cartograph.windows import at_midnight
from cartograph.words import counted
from ml_assets.components.causal_question import answer_key, has_policy, policy_key, reads, table_of
from ml_assets.components.customer_model import predictions_table
from ml_assets.components.experiment import result_table
from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.experiments.memo import illustrated
from ml_assets.core.experiments.report import Report, read_reports
from ml_assets.core.features import order_risk
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.features.order_history import history_columns
from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.cards import page
from ml_assets.core.models.demand.training import NAME as DEMAND_NAME
from ml_assets.core.models.next_best_actions import CONTRACT as ADVISED
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.models.scoring import card_of
from ml_assets.core.questions.answers import Told, read_told
from ml_assets.core.registry import ModelRegistry, Registered, Version
from ml_assets.defs.causal.budget_allocation import KEY as BUDGET_KEY
from ml_assets.defs.causal.channel_response import KEY as RESPONSE_KEY
from ml_assets.defs.causal.questions import answer_keys, of_customers, questions
from ml_assets.defs.experiments.files import experiment_keys, experiments
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.features.order_risk import KEY as RISK_KEY
from ml_assets.defs.marts import (
    ACTIONS,
    ADVICE,
    BUDGET,
    FEATURES,
    FORECASTS,
    KPI_CUSTOMERS,
    KPIS,
    ORDER_RISK,
    PROPENSITIES,
    RECOMMENDATIONS,
    SCORES,
    SEGMENTS,
    SIMILAR,
    VALUES,
    Pinned,
    channel_marts,
    delivered,
    demand_marts,
    depends_on,
    feature_marts,
    open_lake,
    pin,
    plain_failures,
    published,
    sends_campaigns,
    spends_on_channels,
    tells_fraud,
)
from ml_assets.defs.metadata import git_commit
from ml_assets.defs.own_models import own_keys, own_models
from ml_assets.defs.partitions import scoring_date
from ml_assets.defs.scoring.churn_scores import KEY as SCORES_KEY
from ml_assets.defs.scoring.customer_segments import KEY as SEGMENTS_KEY
from ml_assets.defs.scoring.demand_forecasts import KEY as FORECASTS_KEY
from ml_assets.defs.scoring.lifetime_values import KEY as VALUES_KEY
from ml_assets.defs.scoring.next_best_actions import KEY as ACTIONS_KEY
from ml_assets.defs.scoring.product_recommendations import KEY as RECOMMENDATIONS_KEY
from ml_assets.defs.scoring.purchase_propensities import KEY as PROPENSITIES_KEY
from ml_assets.defs.scoring.reorder_advice import KEY as ADVICE_KEY
from ml_assets.defs.scoring.reorder_advice import counts_stock
from ml_assets.defs.scoring.similar_products import KEY as SIMILAR_KEY
from ml_assets.defs.serving.evidence import guarded_by, require_made, upstream_snapshots
from ml_assets.defs.serving.explanations import order_rows, released_explainer
from ml_assets.defs.serving.golden import PATHS, Contents, write_golden
from ml_assets.defs.serving.kpis import KEY as KPIS_KEY
from ml_assets.defs.serving.kpis import ReleasedKpis, kpi_marts, released_kpis, write_figures
from ml_assets.defs.serving.own_models import released_predictions
from ml_assets.defs.serving.parity import parities, parity_result, require_parity, served_spec
from ml_assets.defs.serving.populations import asked_about, told_population
from ml_assets.defs.serving.recommendations import Recommended, released_recommendations, write_recommendations
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.campaign_uplift import KEY as UPLIFT_KEY
from ml_assets.defs.training.churn_classifier import KEY as CHURN_KEY
from ml_assets.defs.training.customer_lifetime_value import KEY as CLV_KEY
from ml_assets.defs.training.customer_segments import KEY as SEGMENTATION_KEY
from ml_assets.defs.training.demand_forecaster import KEY as DEMAND_MODEL_KEY
from ml_assets.defs.training.order_fraud import KEY as FRAUD_KEY
from ml_assets.defs.training.product_recommender import KEY as RECOMMENDER_KEY
from ml_assets.defs.training.purchase_propensity import KEY as PROPENSITY_KEY

if TYPE_CHECKING:
    from cartograph.lake import Lake

KEY = dg.AssetKey(["serving", "release"])
GRAPH_KEY = dg.AssetKey(["quality", "asset_graph"])
QUALITY_KEY = dg.AssetKey(["quality", "scores"])
HOLDS = "all_guards_hold"
NAMED = 10
"""Checks that are named where a release went out in spite of them; all are among the samples."""
MODELS = {
    churn.NAME: (CHURN_KEY, SCORES_KEY),
    propensity.NAME: (PROPENSITY_KEY, PROPENSITIES_KEY),
    segments.NAME: (SEGMENTATION_KEY, SEGMENTS_KEY),
    clv.NAME: (CLV_KEY, VALUES_KEY),
    product_recommender.NAME: (RECOMMENDER_KEY, RECOMMENDATIONS_KEY, SIMILAR_KEY),
    DEMAND_NAME: (DEMAND_MODEL_KEY, FORECASTS_KEY),
    fraud.NAME: (FRAUD_KEY,),
    campaign_uplift.NAME: (UPLIFT_KEY, ACTIONS_KEY),
}
"""The models of a release: where each is trained, and where it makes the predictions that are released."""
OF_CUSTOMERS = {SCORES: "churned", PROPENSITIES: "bought", SEGMENTS: "behaves", VALUES: "worth"}
"""The tables of predictions that are released as columns of the customers, and what they are called in the query."""
SCORED_BY = {
    churn.NAME: (SCORES, "churn_model_version"),
    propensity.NAME: (PROPENSITIES, "propensity_model_version"),
    clv.NAME: (VALUES, "clv_model_version"),
}
"""The tables and their columns that must name the champion: the API predicts and explains by it, too."""
PREDICTIONS = (*OF_CUSTOMERS, RECOMMENDATIONS, SIMILAR, FORECASTS)
MODEL_FILES = {
    churn.NAME: (CHURN_MODEL, CHURN_CARD),
    propensity.NAME: (PROPENSITY_MODEL, PROPENSITY_CARD),
    fraud.NAME: (FRAUD_MODEL, FRAUD_CARD),
    clv.NAME: (CLV_MODEL, CLV_CARD),
}
"""The files of the models that the API asks as they are."""
PERSONAL = {feature.name: feature.pii for feature in CUSTOMER_FEATURES.features if feature.pii}
"""The columns of the customers that the API shows to the scope `pii` only."""


class ReleaseConfig(dg.Config):
    """How a release is made although blocking checks forbid it: somebody answers for it, by name and with a reason."""

    override_by: str = ""
    override_reason: str = ""

    def decision(self) -> Override | None:
        """The decision to override, where there is one.

        Raises:
            UnfitRelease: only one of both is given, or the reason is too short to be one.
        """
        if not self.override_by and not self.override_reason:
            return None
        try:
            return Override(by=self.override_by, reason=self.override_reason)
        except ValidationError:
            raise UnfitRelease(
                "An override needs a name (override_by, up to 100 characters) and a reason (override_reason, 10 to "
                f"1,000 characters); got {self.override_by!r} and {self.override_reason!r}."
            ) from None


def models() -> list[str]:
    """The models that a release of this shop has, once they are trained."""
    absent = {fraud.NAME: not tells_fraud(), campaign_uplift.NAME: not sends_campaigns()}
    return [*(name for name in MODELS if not absent.get(name)), *(model.name for model in own_models())]


def sources() -> list[dg.AssetKey]:
    """The assets of this location that a release of this shop is made of."""
    made_by_models = [key for name in models() for key in MODELS.get(name, ())]
    return [
        *(FEATURES_KEY, KPIS_KEY, *made_by_models, *own_keys()),
        *([ADVICE_KEY] if counts_stock() else []),
        *([RISK_KEY] if tells_fraud() else []),
        *([RESPONSE_KEY, BUDGET_KEY] if spends_on_channels() else []),
        *experiment_keys(),
        *answer_keys(),
    ]


def upstream() -> list[dg.AssetKey]:
    """`sources`, and the published marts that they and the release are made of."""
    of_fraud = order_risk.MARTS if tells_fraud() else ()
    further = ("rfm_segments", "dim_products", "dim_dates", "market_basket_rules", *delivered(["dim_campaigns"]))
    of_own = [mart for one in (*own_models(), *experiments()) for mart in one.marts]
    of_budget = channel_marts() if spends_on_channels() else ()
    of_questions = [mart for question in questions() for mart in reads(question)]
    own = (*of_fraud, *of_own, *of_budget, *of_questions)
    marts = dict.fromkeys((*feature_marts(), *demand_marts(), *kpi_marts(), *own, *further))
    return [*sources(), *(dependency.asset_key for dependency in depends_on(marts))]


def read_marts() -> list[str]:
    """The marts that the release itself reads: segments, products, and what the history of orders is made of."""
    return list(dict.fromkeys(("rfm_segments", "dim_products", *(order_risk.MARTS if tells_fraud() else ()))))


def warehouse() -> list[dg.AssetKey]:
    """The marts behind the published ones: they record which snapshots of the raw tables they were built from."""
    return [dg.AssetKey(["marts", key.path[-1]]) for key in upstream() if key.path[0] == "published"]


@dg.asset(
    key=KEY,
    deps=[*sources(), *depends_on(read_marts()), GRAPH_KEY, QUALITY_KEY],
    kinds={"python"},
    check_specs=[
        dg.AssetCheckSpec(
            HOLDS,
            asset=KEY,
            description="All blocking checks of what the release is made of hold; it warns of one made by override.",
        ),
        served_spec(KEY),
    ],
    tags={"domain": "serving"},
    description=(
        "An immutable, checksummed folder of customers with features, segments and predictions, the models that the "
        "shop has, recommendations, demand forecasts and reorder advice, the effects and the experiments, with a "
        "manifest of what it "
        "was made from; the API serves the current one. "
        "Nothing is released when a blocking check of anything that it is made of, in either code location, has "
        "failed, has never run, or has not run since its data changed; unless somebody answers for it by an override."
    ),
)
def release(context: dg.AssetExecutionContext, config: ReleaseConfig, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Write the files, make them current, and prune old releases."""
    settings = get_settings()
    shop, lake = load_shop(settings), open_lake()
    with plain_failures():
        require_made(context, lake, tables(), KEY)
        inputs = pin(lake, tables())
        registry = ModelRegistry(tracking.uri)
        champions = {name: found for name in models() if (found := registry.champion(name))}
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            found = gathered(con, lake, inputs, as_of, champions)
        store = release_store(settings)
        made_from = ReleaseInputs(
            as_of=as_of,
            window=(at_midnight(shop.start), at_midnight(as_of)),
            shop=shop.name,
            snapshots=upstream_snapshots(context.instance, [*warehouse(), DEMAND_KEY, *sources()]) | inputs.snapshots,
            models={name: champion.version for name, champion in champions.items()},
            git_commit=git_commit(),
            checks=check_outcomes(context.instance, guarded_by(context, lake, KEY)),
            override=config.decision(),
        )
        with store.creating(made_from, created_at=datetime.now(UTC)) as draft:
            write_contents(draft.path, found, champions, shop_card(shop))
            for name, champion in champions.items():
                write_card(draft.path, registry.version(name, champion.version), champion)
            write_lineage(draft.path, guarded_by(context, lake, KEY))
            parity = require_parity(parities(draft.path, found.customers, found.predicted))
        pruned = store.prune(settings.release_keep)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(found.customers),
            "release_id": draft.manifest.release_id,
            "as_of_date": str(as_of),
            "models": ", ".join(f"{name} {one.version}" for name, one in champions.items()) or "none yet",
            "budget": f"{found.budget.gain.value:+.2f} {found.budget.currency} a day" if found.budget else "none",
            "experiments": len(found.experiments),
            "kpis": len(found.figures.kpis) if found.figures else 0,
            "effects": sum(one.effect.verdict == "identified" for one in found.answers),
            "questions": len(found.answers),
            "policies": len(found.policies),
            "products_forecast": len(pc.unique(found.products[DEMAND]["product_id"])) if found.products else 0,
            "bytes": sum(entry.size for entry in draft.manifest.files),
            "pruned": list(pruned),
        },
        check_results=[guards_result(made_from, draft.manifest), parity_result(parity)],
    )


def tables() -> list[str]:
    """The tables of the lake that a release is made of."""
    return [
        *(FEATURES, KPIS, KPI_CUSTOMERS, *PREDICTIONS, *published(read_marts())),
        *([ADVICE] if counts_stock() else []),
        *([ORDER_RISK] if tells_fraud() else []),
        *([BUDGET] if spends_on_channels() else []),
        *([ACTIONS] if sends_campaigns() else []),
        *(table_of(answer_key(question.name)) for question in questions()),
        *(table_of(policy_key(asked.name)) for asked in questions() if has_policy(asked)),
        *(predictions_table(model.name) for model in own_models()),
        *(result_table(one.name) for one in experiments()),
    ]


class Gathered(NamedTuple):
    """What is released, as it was read from the lake.

    `predicted` is of the shop's own models; `orders` is the moment and the history that orders are judged by, and
    `judged` some orders with their features.
    """

    as_of: date
    customers: pa.Table
    predicted: pa.Table | None
    judged: pa.Table
    orders: tuple[int, dict[str, Any]] | None
    recommended: Recommended | None
    products: Mapping[str, pa.Table]
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
        products=released_products(con, inputs) if DEMAND_NAME in champions else {},
        figures=released_kpis(con, inputs, as_of),
        budget=released_budget(con, inputs),
        answers=read_told(
            row for select in answers for row in con.execute(f"FROM ({select})").to_arrow_table().to_pylist()
        ),
        policies=told,
        experiments=read_reports(con, of(result_table(one.name) for one in experiments())),
    )


def own_champions(champions: Mapping[str, Registered]) -> dict[str, Registered]:
    """The champions among the shop's own models."""
    return {model.name: champions[model.name] for model in own_models() if model.name in champions}


def write_contents(folder: Path, found: Gathered, champions: Mapping[str, Registered], shop: ShopCard) -> None:
    """Write what was read, the models, and the golden requests."""
    own = own_champions(champions)
    write_customers(folder / CUSTOMERS, mark_personal(found.customers, PERSONAL))
    for name in champions.keys() & (MODEL_FILES.keys() | own.keys()):
        write_model(folder, champions[name], found.judged if name == fraud.NAME else found.customers)
    if found.predicted is not None:
        write_lists(folder / OWN_PREDICTIONS, found.predicted, PREDICTION_COLUMNS)
    if found.recommended:
        write_recommendations(folder, found.recommended)
    if found.products:
        write_demand(folder, champions[DEMAND_NAME], found.products)
    write_figures(folder, found.figures)
    if found.orders:
        write_history(folder / ORDER_HISTORY, *found.orders)
    if found.budget:
        (folder / BUDGET_FILE).write_text(found.budget.model_dump_json(indent=2), encoding="utf-8")
    if found.experiments:
        write_experiments(folder, found.experiments)
    write_answers(folder, found.answers)
    if found.policies:
        (folder / POLICIES_FILE).write_bytes(POLICIES.dump_json(tuple(found.policies), indent=2))
    (folder / SHOP).write_text(shop.model_dump_json(indent=2), encoding="utf-8")
    write_golden(
        folder,
        Contents(
            as_of=found.as_of,
            shop=shop,
            customers=found.customers,
            models=[champions[name] for name in (*PATHS, *own) if name in champions],
            recommended=found.recommended,
            products=found.products,
            effects=[one.effect for one in found.answers],
            policies=found.policies,
            experiments=[one.result for one in found.experiments],
        ),
    )


def guards_result(made_from: ReleaseInputs, manifest: Manifest) -> dg.AssetCheckResult:
    """Whether the release needed its override, which then is a warning for whoever did not decide it.

    Where there was nothing new to release, `manifest` is that of the earlier release, which keeps no later override.
    """
    forbidding = [f"{check.name} of {check.asset_key}" for check in made_from.forbidden_by]
    told = None
    if forbidding and made_from.override:
        is_new = manifest.inputs.override == made_from.override
        which = ", ".join(forbidding[:NAMED]) + (", …" if len(forbidding) > NAMED else "")
        told = (
            f"{'released' if is_new else 'there was nothing new to release'} in spite of "
            f"{counted(len(forbidding), 'blocking check')} ({which}), by {made_from.override.by}: "
            f"{made_from.override.reason}"
        )
    return checked(
        HOLDS,
        not forbidding,
        expected=f"{len(made_from.checks)} checks hold, or do not block",
        found=f"{len(forbidding)} forbid the release",
        samples=forbidding,
        severity="warning",
        description=told,
    )


_RELEASED = {
    "customer_id": "f.customer_id",
    "as_of": "f.as_of_date",
    "segment": "r.segment",
    "policies": "coalesce(asked.policies, [])",
}


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


def write_answers(folder: Path, answers: Sequence[Told]) -> None:
    """Write the effects, and of each answer the memo with its pictures beside it."""
    (folder / EFFECTS_FILE).write_bytes(EFFECTS.dump_json(tuple(one.effect for one in answers), indent=2))
    for one in answers:
        write_page(folder / MEMO_PAGE.format(name=one.effect.name), one.memo, one.pictures)


def write_experiments(folder: Path, tried: Sequence[Report]) -> None:
    """Write the results, and of each the memo with its pictures beside it."""
    (folder / EXPERIMENTS_FILE).write_bytes(EXPERIMENTS.dump_json(tuple(one.result for one in tried), indent=2))
    for one in tried:
        text = illustrated(one.result.memo, one.pictures)
        write_page(folder / EXPERIMENT_PAGE.format(name=one.result.name), text, one.pictures)


def write_page(place: Path, text: str, drawn: Sequence[Picture]) -> None:
    """Write a page for people, with its pictures beside it."""
    place.parent.mkdir(parents=True)
    place.write_text(text, encoding="utf-8")
    for picture in drawn:
        (place.parent / picture.file).write_bytes(picture.content)


def released_budget(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> Budget | None:
    """The budget of the paid channels; None where the shop has none, or its data do not show what they do."""
    select = inputs.selects.get("budget_allocation")
    found = con.execute(f"SELECT budget FROM ({select}) LIMIT 1").fetchone() if select else None
    return Budget.model_validate_json(found[0]) if found else None


def released_products(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> dict[str, pa.Table]:
    """The files about products: the latest forecasts, and the latest reorder advice where the shop counts its stock."""
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


def write_model(folder: Path, model: Registered, rows: pa.Table) -> None:
    """Write the model, its card, and what explains it by the customers or orders in `rows`, where there are some."""
    content, card = MODEL_FILES.get(model.name) or own_model_files(model.name)
    (folder / content).parent.mkdir(exist_ok=True)
    (folder / content).write_bytes(model.content)
    (folder / card).write_text(card_of(model).model_dump_json(indent=2), encoding="utf-8")
    write_schema(folder, card_of(model))
    if explains := released_explainer(model, rows):
        (folder / explanation_file(model.name)).write_text(explains.model_dump_json(), encoding="utf-8")


def write_card(folder: Path, version: Version, model: Registered) -> None:
    """Write the card for people, with its pictures beside it."""
    place = folder / CARD_PAGE.format(name=model.name)
    place.parent.mkdir(parents=True)
    place.write_text(page(version, model), encoding="utf-8")
    for file, content in model.pictures.items():
        (place.parent / file).write_bytes(content)


def write_demand(folder: Path, model: Registered, products: Mapping[str, pa.Table]) -> None:
    """Write the forecasts and the reorder advice, and the card of the model that made them."""
    (folder / DEMAND_CARD).parent.mkdir(exist_ok=True)
    (folder / DEMAND_CARD).write_text(card_of(model).model_dump_json(indent=2), encoding="utf-8")
    for name, rows in products.items():
        write_products(folder, name, rows)


def write_lineage(folder: Path, made_of: Sequence[GuardedAsset]) -> None:
    """Write what each asset of the release is made of."""
    nodes = [LineageNode(key=one.key, upstream=one.upstream) for one in made_of]
    (folder / LINEAGE_FILE).write_text(Lineage(assets=tuple(nodes)).model_dump_json(), encoding="utf-8")


def shop_card(shop: Shop) -> ShopCard:
    """Which shop the release is about."""
    return ShopCard(name=shop.name, title=shop.title, currency=shop.currency)


def release_store(settings: Settings) -> ReleaseStore:
    """The settings' release store; the client for S3 is dagster-aws's."""
    if not settings.resolved_release_uri.startswith("s3://"):
        return open_store(settings)
    from dagster_aws.s3 import S3Resource  # costs half a second, which no local run has to pay

    resource = S3Resource(endpoint_url=settings.s3_endpoint_url, region_name=settings.s3_region)
    return open_store(settings, s3_client=resource.get_client())
