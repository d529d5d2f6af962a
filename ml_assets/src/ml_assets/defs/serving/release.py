"""The release as an asset: what the graph trusts, written as one immutable folder and made current.

The form of the files is `cartograph.releases.contents`; how they are kept is the rest of `cartograph.releases`.
"""

from datetime import UTC, datetime

import dagster as dg
import pyarrow.compute as pc

from cartograph.releases import Manifest, ReleaseInputs, ReleaseStore, open_store
from cartograph.releases.contents.files import DEMAND
from cartograph.settings import Settings, get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from cartograph.trust.overrides import override_in, tell_override
from cartograph.windows import at_midnight
from cartograph.words import counted
from ml_assets.core.features.customers import as_of_dates
from ml_assets.core.registry import ModelRegistry
from ml_assets.defs.features.daily_demand import KEY as DEMAND_KEY
from ml_assets.defs.marts import depends_on, open_lake, pin, plain_failures
from ml_assets.defs.metadata import git_commit
from ml_assets.defs.partitions import scoring_date
from ml_assets.defs.serving.evidence import guarded_by, outcomes, require_made, upstream_snapshots
from ml_assets.defs.serving.gathering import gathered
from ml_assets.defs.serving.parity import parities, parity_result, require_parity, served_spec
from ml_assets.defs.serving.sources import champions_of, read_marts, sources, tables, warehouse
from ml_assets.defs.serving.writing import shop_card, write_card, write_contents, write_lineage
from ml_assets.defs.tracking import MlflowTracking

KEY = dg.AssetKey(["serving", "release"])
GRAPH_KEY = dg.AssetKey(["quality", "asset_graph"])
QUALITY_KEY = dg.AssetKey(["quality", "scores"])
HOLDS = "all_guards_hold"
NAMED = 10
"""Checks that are named where a release went out in spite of them; all are among the samples."""


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
        "An immutable, checksummed folder of customers with features, segments and predictions, of products with "
        "features, of the models that the shop has, recommendations, demand forecasts and reorder advice, the effects "
        "and the experiments, with a manifest of what it was made from; the API serves the current one. "
        "Nothing is released when a blocking check of anything that it is made of, in either code location, has "
        "failed, has never run, or has not run since its data changed; unless somebody answers for it by an override."
    ),
)
def release(context: dg.AssetExecutionContext, tracking: MlflowTracking) -> dg.MaterializeResult:
    """Write the files, make them current, and prune old releases."""
    settings = get_settings()
    shop, lake, override = load_shop(settings), open_lake(), override_in(context.run.tags)
    with plain_failures():
        require_made(context, lake, tables(), KEY)
        inputs = pin(lake, tables())
        registry = ModelRegistry(tracking.uri)
        champions = champions_of(registry)
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
            checks=outcomes(context, lake, KEY, as_of),
            override=override,
        )
        with store.creating(made_from, created_at=datetime.now(UTC)) as draft:
            write_contents(draft.path, found, champions, shop_card(shop))
            for name, champion in champions.items():
                write_card(draft.path, registry.version(name, champion.version), champion)
            write_lineage(draft.path, guarded_by(context, lake, KEY))
            parity = require_parity(parities(draft.path, found.customers, found.predicted))
        pruned = store.prune(settings.release_keep)
    guards = guards_result(made_from, draft.manifest)
    if not guards.passed and guards.description:
        tell_override(context, guards.description)
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
            "products": len(found.products),
            "products_forecast": len(pc.unique(found.demand[DEMAND]["product_id"])) if found.demand else 0,
            "bytes": sum(entry.size for entry in draft.manifest.files),
            "pruned": list(pruned),
        },
        check_results=[guards, parity_result(parity)],
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


def release_store(settings: Settings) -> ReleaseStore:
    """The settings' release store; the client for S3 is dagster-aws's."""
    if not settings.resolved_release_uri.startswith("s3://"):
        return open_store(settings)
    from dagster_aws.s3 import S3Resource  # costs half a second, which no local run has to pay

    resource = S3Resource(endpoint_url=settings.s3_endpoint_url, region_name=settings.s3_region)
    return open_store(settings, s3_client=resource.get_client())
