"""Late data: the asset `quality/late_data` looks for it, and the sensor has the partitions that it finds loaded again.

What is late, and what hangs on it, is decided in `ecom_assets.late_data`.
"""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from pydantic import BaseModel

from cartograph.erasure import ErasureError
from cartograph.lake import Lake, LakeError
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.automation import ON_REQUEST, RANGE_TAGS, on_request
from cartograph.windows import Window, windows
from ecom_assets.contracts.validation import ContractError
from ecom_assets.defs.automation import repair_job
from ecom_assets.defs.ingestion.shop_sources import shop_readers
from ecom_assets.defs.partitions import window_of
from ecom_assets.defs.quality.rebuild import KEY as REBUILD
from ecom_assets.late_data import Findings, Repair, find
from ecom_assets.sources import Source, SourceError
from ecom_assets.unfinished_repairs import note_begun, note_made, unfinished

KEY = dg.AssetKey(["quality", "late_data"])
LOOK: Literal["look"] = "look"
TAG = "cartograph/late_data"
"""Marks the runs that the sensor asked for: of these there is one at a time."""
INTERVAL_SECONDS = 60
TRIES = 3
"""How often a repair is asked for as long as it fails; each failed run is told by the alerts."""


class Request(BaseModel, frozen=True):
    """A repair as it is passed on: partition keys and datasets. The last of several also has the marts rebuilt."""

    first: str
    last: str
    datasets: tuple[str, ...]
    is_last: bool

    @property
    def windows(self) -> list[Window]:
        """The partitions."""
        return list(windows(window_of(self.first).start, window_of(self.last).end, get_settings().partition_grain))

    @property
    def mended(self) -> frozenset[tuple[str, Window]]:
        """The datasets, each with the partitions that it is loaded again in."""
        return frozenset((dataset, window) for dataset in self.datasets for window in self.windows)


class Look(NamedTuple):
    """What a look found: its number, which grows from look to look, and the repairs."""

    number: int
    repairs: tuple[Request, ...]


class Watch(BaseModel, frozen=True):
    """What the sensor remembers: the sources as they were when it last had them looked at, the last look whose findings
    it took, the repairs that wait, and the one that it asked for last, with how often it did."""

    fingerprints: dict[str, str] = {}
    look: int = 0
    waiting: tuple[Request, ...] = ()
    asked: Request | None = None
    tries: int = 0


@dg.definitions
def late_data_definitions() -> dg.Definitions:
    """The asset, over the datasets that the chosen shop has, its job and the sensor."""

    @dg.asset(
        key=KEY,
        group_name="quality",
        kinds={"duckdb"},
        owners=["team:data-platform"],
        tags={"domain": "quality", **ON_REQUEST},
        description=(
            "The partitions that are no longer what their source delivers: rows came late, or a file was mended. The "
            "sensor `late_data_sensor` has them loaded again, with all that is made of them."
        ),
        deps=[["raw", dataset] for dataset in sorted(load_shop(get_settings()).datasets)],
    )
    def late_data(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            found = look(context.instance)
        except (SourceError, ContractError, LakeError, ErasureError) as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from mistake
        return dg.MaterializeResult(metadata=told(found))

    return dg.Definitions(assets=[late_data], jobs=[late_data_job], sensors=[late_data_sensor])


late_data_job = dg.define_asset_job(
    "late_data_job",
    selection=[KEY],
    description="Look for partitions that are no longer what their source delivers.",
)


@dg.sensor(
    jobs=[late_data_job, repair_job],
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the sources looked at when they changed, and loads the partitions that late data belongs to.",
)
def late_data_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One step at a time, a look or a repair, and none while the last one runs."""
    instance = context.instance
    if instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES, tags={TAG: "true"}), limit=1):
        return dg.SkipReason("The last look or repair has not ended yet.")
    before = Watch.model_validate_json(context.cursor) if context.cursor else Watch()
    ended = last_repair(instance)
    if before.asked is not None and ended == dg.DagsterRunStatus.SUCCESS:
        note_made(get_settings(), before.asked.windows)
        before = before.model_copy(update={"asked": None})
    after, request = step(
        before,
        latest_look(instance),
        lambda: fingerprints(instance),
        has_failed=ended == dg.DagsterRunStatus.FAILURE,
    )
    if request is None:
        return dg.SensorResult(skip_reason="No source has changed.", cursor=after.model_dump_json())
    if context.repository_def is None:
        raise dg.DagsterInvariantViolationError("The sensor must be evaluated in its code location.")
    if request == LOOK:
        return dg.SensorResult(run_requests=[look_request()], cursor=after.model_dump_json())
    note_begun(get_settings(), unfinished(get_settings()) | request.mended)
    asked = repair_request(request, context.repository_def.asset_graph)
    return dg.SensorResult(run_requests=[asked], cursor=after.model_dump_json())


def step(
    watch: Watch, look: Look | None, fingerprints: Callable[[], dict[str, str]], *, has_failed: bool = False
) -> tuple[Watch, Request | Literal["look"] | None]:
    """What to ask for now, a repair or a look or nothing, and what to remember then.

    A repair that `has_failed` is asked for again, TRIES times in all, before the next; not after a newer look.
    """
    if look is not None and look.number > watch.look:
        watch = watch.model_copy(update={"look": look.number, "waiting": look.repairs, "asked": None})
    if has_failed and watch.asked is not None and watch.tries < TRIES:
        return watch.model_copy(update={"tries": watch.tries + 1}), watch.asked
    if watch.waiting:
        first, *others = watch.waiting
        return watch.model_copy(update={"waiting": tuple(others), "asked": first, "tries": 1}), first
    now = fingerprints()
    return watch.model_copy(update={"fingerprints": now}), None if now == watch.fingerprints else LOOK


def look(instance: dg.DagsterInstance, only: Collection[Window] | None = None) -> Findings:
    """Hold what the chosen shop's sources deliver against the partitions that were loaded, or those in `only`.

    Raises:
        SourceError, ContractError, LakeError, ErasureError: as from `find`.
    """
    settings = get_settings()
    shop = load_shop(settings)
    loaded = {
        dataset: [window_of(key) for key in instance.get_materialized_partitions(dg.AssetKey(["raw", dataset]))]
        for dataset in shop.datasets
    }
    return find(
        Lake.from_settings(settings),
        readers(),
        loaded,
        shop_window=shop.span,
        grain=settings.partition_grain,
        late_limit=timedelta(hours=settings.late_limit_hours),
        only=only,
    )


def readers() -> list[Source]:
    """The readers of the chosen shop's sources."""
    return shop_readers(load_shop(get_settings()))


def fingerprints(instance: dg.DagsterInstance) -> dict[str, str]:
    """The fingerprint of each dataset that can change and was loaded; one that cannot be found is left out."""
    found = {}
    for reader in readers():
        for dataset in sorted(reader.datasets):
            if instance.get_latest_materialization_event(dg.AssetKey(["raw", dataset])) is None:
                continue
            try:
                fingerprint = reader.fingerprint(dataset)
            except SourceError:  # the next load says so, and its checks
                continue
            if fingerprint is not None:
                found[dataset] = fingerprint
    return found


def told(found: Findings) -> dict[str, Any]:
    """The findings as metadata, for people and for the sensor."""
    unread = (f"{piece.name} cannot be read: {piece.reason}" for piece in found.unreadable)
    lines = [*unread, *map(str, found.changes), *found.lookups()]
    return {
        "dagster/row_count": len(found.changes),
        "changes": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines) or "Nothing is late."),
        "repairs": dg.MetadataValue.json([request.model_dump() for request in requests(found.repairs())]),
    }


def requests(repairs: list[Repair]) -> tuple[Request, ...]:
    """The repairs as the sensor asks for them."""
    return tuple(
        Request(
            first=repair.windows[0].key,
            last=repair.windows[-1].key,
            datasets=repair.datasets,
            is_last=number == len(repairs),
        )
        for number, repair in enumerate(repairs, start=1)
    )


def latest_look(instance: dg.DagsterInstance) -> Look | None:
    """The latest look, by whomever; None before the first."""
    records = instance.fetch_materializations(KEY, limit=1).records
    if not records or (made := records[0].asset_materialization) is None:
        return None
    return Look(records[0].storage_id, tuple(Request.model_validate(r) for r in made.metadata["repairs"].value))


def last_repair(instance: dg.DagsterInstance) -> dg.DagsterRunStatus | None:
    """How the last run that the sensor asked for ended, if it was a repair. One that a person ended did not fail."""
    runs = instance.get_runs(dg.RunsFilter(tags={TAG: "true"}), limit=1)
    return next((run.status for run in runs if run.job_name == repair_job.name), None)


def look_request() -> dg.RunRequest:
    """The run that looks at the sources."""
    return dg.RunRequest(job_name=late_data_job.name, tags={TAG: "true"})


def repair_request(repair: Request, graph: BaseAssetGraph[Any]) -> dg.RunRequest:
    """The run that loads the datasets in the partitions, and builds what is made of them."""
    return dg.RunRequest(
        job_name=repair_job.name,
        asset_selection=sorted(repaired_assets(repair).resolve(graph)),
        tags={TAG: "true", RANGE_TAGS[0]: repair.first, RANGE_TAGS[1]: repair.last},
    )


def repaired_assets(repair: Request) -> dg.AssetSelection:
    """The raw assets of the datasets, and all of this location that is made of them."""
    loaded = dg.AssetSelection.assets(*(["raw", dataset] for dataset in repair.datasets))
    others = (dg.AssetSelection.groups("raw") - loaded) | on_request()
    selected = loaded.downstream() - others
    return selected | dg.AssetSelection.assets(REBUILD) if repair.is_last else selected
