"""The release as an asset: what the graph trusts, written as one immutable folder and made current.

The form of the files is `cartograph.releases.contents`; how they are kept is the rest of `cartograph.releases`.
"""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
from pydantic import ValidationError

from cartograph.releases import Manifest, Override, ReleaseInputs, ReleaseStore, UnfitRelease, open_store
from cartograph.releases.contents import (
    CHURN_CARD,
    CHURN_MODEL,
    CUSTOMERS,
    EFFECTS,
    EFFECTS_FILE,
    SHOP,
    Effect,
    ShopCard,
    write_customers,
)
from cartograph.settings import Settings, get_settings
from cartograph.shops import Shop, load_shop
from cartograph.trust.evidence import checked
from cartograph.trust.gate import check_outcomes
from cartograph.windows import at_midnight
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.models import churn
from ml_assets.core.models.churn_scores import card_of
from ml_assets.core.registry import ModelRegistry, Registered
from ml_assets.defs.causal.email_campaign_effect import KEY as EFFECT_KEY
from ml_assets.defs.causal.email_campaign_effect import is_answerable
from ml_assets.defs.features.customer_features import KEY as FEATURES_KEY
from ml_assets.defs.marts import (
    EFFECT,
    FEATURES,
    SCORES,
    Pinned,
    delivered,
    depends_on,
    feature_marts,
    open_lake,
    pin,
    plain_failures,
    published,
)
from ml_assets.defs.metadata import git_commit
from ml_assets.defs.partitions import scoring_date
from ml_assets.defs.scoring.churn_scores import KEY as SCORES_KEY
from ml_assets.defs.serving.evidence import guarded_by, require_made, upstream_snapshots
from ml_assets.defs.tracking import MlflowTracking
from ml_assets.defs.training.churn_classifier import KEY as MODEL_KEY

KEY = dg.AssetKey(["serving", "release"])
GRAPH_KEY = dg.AssetKey(["quality", "asset_graph"])
QUALITY_KEY = dg.AssetKey(["quality", "scores"])
HOLDS = "all_guards_hold"


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


def sources() -> list[dg.AssetKey]:
    """The assets of this location that a release of this shop is made of."""
    return [FEATURES_KEY, MODEL_KEY, SCORES_KEY, *([EFFECT_KEY] if is_answerable() else [])]


def upstream() -> list[dg.AssetKey]:
    """`sources`, and the published marts that they and the release are made of."""
    marts = dict.fromkeys((*feature_marts(), *delivered(["dim_campaigns"]), "rfm_segments"))
    return [*sources(), *(dependency.asset_key for dependency in depends_on(marts))]


def warehouse() -> list[dg.AssetKey]:
    """The marts behind the published ones: they record which snapshots of the raw tables they were built from."""
    return [dg.AssetKey(["marts", key.path[-1]]) for key in upstream() if key.path[0] == "published"]


@dg.asset(
    key=KEY,
    deps=[*sources(), *depends_on(["rfm_segments"]), GRAPH_KEY, QUALITY_KEY],
    kinds={"python"},
    check_specs=[
        dg.AssetCheckSpec(
            HOLDS,
            asset=KEY,
            description="All blocking checks of what the release is made of hold; it warns of one made by override.",
        )
    ],
    tags={"domain": "serving"},
    description=(
        "An immutable, checksummed folder of customers with features, segment and churn score, the model as ONNX where "
        "the shop has one, and the effects, with a manifest of what it was made from; the API serves the current one. "
        "Nothing is released when a blocking check of anything that it is made of, in either code location, has "
        "failed, has never run, or has not run since its data changed; unless somebody answers for it by an override."
    ),
)
def release(context: dg.AssetExecutionContext, config: ReleaseConfig, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Write the files, make them current, and prune old releases."""
    settings = get_settings()
    shop, lake = load_shop(settings), open_lake()
    with plain_failures():
        tables = [FEATURES, SCORES, *published(["rfm_segments"]), *([EFFECT] if is_answerable() else [])]
        require_made(context, lake, tables, KEY)
        inputs = pin(lake, tables)
        model = ModelRegistry(tracking.uri).champion(churn.NAME)
        with lake.connect() as con:
            as_of = scoring_date(as_of_dates(con, inputs.selects["customer_features"]))
            require_scored_by(con, inputs, as_of, model)
            customers = released_customers(con, inputs, as_of)
            effects = released_effects(con, inputs)
        store = release_store(settings)
        made_from = ReleaseInputs(
            as_of=as_of,
            window=(at_midnight(shop.start), at_midnight(as_of)),
            shop=shop.name,
            snapshots=upstream_snapshots(context.instance, [*warehouse(), *sources()]) | inputs.snapshots,
            models={model.name: model.version} if model else {},
            git_commit=git_commit(),
            checks=check_outcomes(context.instance, guarded_by(context, lake, KEY)),
            override=config.decision(),
        )
        with store.creating(made_from, created_at=datetime.now(UTC)) as draft:
            write_customers(draft.path / CUSTOMERS, customers)
            if model:
                write_model(draft.path, model)
            (draft.path / EFFECTS_FILE).write_bytes(EFFECTS.dump_json(effects, indent=2))
            (draft.path / SHOP).write_text(shop_card(shop).model_dump_json(indent=2), encoding="utf-8")
        pruned = store.prune(settings.release_keep)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(customers),
            "release_id": draft.manifest.release_id,
            "as_of_date": str(as_of),
            "model_version": model.version if model else "no model yet",
            "effects": len(effects),
            "bytes": sum(entry.size for entry in draft.manifest.files),
            "pruned": list(pruned),
        },
        check_results=[guards_result(made_from, draft.manifest)],
    )


def guards_result(made_from: ReleaseInputs, manifest: Manifest) -> dg.AssetCheckResult:
    """Whether the release needed its override, which then is a warning for whoever did not decide it.

    Where there was nothing new to release, `manifest` is that of the earlier release, which keeps no later override.
    """
    forbidding = [f"{check.name} of {check.asset_key}" for check in made_from.forbidden_by]
    told = None
    if forbidding and made_from.override:
        told = f"{len(forbidding)} blocking check(s) forbid it, by {made_from.override.by}: {made_from.override.reason}"
        is_new = manifest.inputs.override == made_from.override
        told = f"{'released' if is_new else 'there was nothing new to release'}, although {told}"
    return checked(
        HOLDS,
        not forbidding,
        expected=f"{len(made_from.checks)} checks hold, or do not block",
        found=f"{len(forbidding)} forbid the release",
        samples=forbidding,
        severity="warning",
        description=told,
    )


def require_scored_by(con: duckdb.DuckDBPyConnection, inputs: Pinned, as_of: date, champion: Registered | None) -> None:
    """Raise UnfitRelease where the scores are by another version than the champion, by which the API predicts."""
    rows = con.execute(
        f"SELECT DISTINCT churn_model_version FROM ({inputs.selects['churn_scores']}) WHERE as_of_date = $as_of",
        {"as_of": as_of},
    ).fetchall()
    others = sorted(row[0] for row in rows if champion is None or row[0] != champion.version)
    if others:
        raise UnfitRelease(
            f"The churn scores of {as_of} are by version {', '.join(others)} of {churn.NAME}, and the champion is "
            f"version {champion.version if champion else 'none'}. Materialize predictions/churn_scores, then release."
        )


def released_customers(con: duckdb.DuckDBPyConnection, inputs: Pinned, as_of: date) -> pa.Table:
    """All customers of the as-of date with their features, and where there are such, segment and churn score."""
    selects = inputs.selects
    return con.execute(
        f"""
        SELECT f.customer_id, f.as_of_date AS as_of, r.segment, s.churn_probability, s.churn_model_version,
            f.* EXCLUDE (customer_id, as_of_date)
        FROM ({selects["customer_features"]}) f
        LEFT JOIN ({selects["churn_scores"]}) s ON s.customer_id = f.customer_id AND s.as_of_date = f.as_of_date
        LEFT JOIN (
            SELECT customer_id, arg_max(segment, as_of_date) AS segment FROM ({selects["rfm_segments"]}) GROUP BY ALL
        ) r ON r.customer_id = f.customer_id
        WHERE f.as_of_date = $as_of ORDER BY f.customer_id""",
        {"as_of": as_of},
    ).to_arrow_table()


def released_effects(con: duckdb.DuckDBPyConnection, inputs: Pinned) -> tuple[Effect, ...]:
    """The answers to the shop's causal questions; none where it has none."""
    select = inputs.selects.get("email_campaign_effect")
    if select is None:
        return ()
    rows = con.execute(f"SELECT effect FROM ({select}) ORDER BY campaign_id").fetchall()
    return tuple(Effect.model_validate_json(row[0]) for row in rows)


def write_model(folder: Any, model: Registered) -> None:
    """Write the model and its card."""
    (folder / CHURN_MODEL).parent.mkdir()
    (folder / CHURN_MODEL).write_bytes(model.content)
    (folder / CHURN_CARD).write_text(card_of(model).model_dump_json(indent=2), encoding="utf-8")


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
