"""The warehouse's assets: all enabled dbt models, and each dbt test as a check.

One multi-asset and so, for a run over everything, one dbt process: starting dbt costs seconds. Thin by rule: how dbt is
called and what a failure says is in `ecom_assets.warehouse`, names and partitions are in `translator`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster_dbt import DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test
from dagster_dbt.core.dbt_event_iterator import DbtDagsterEventType

from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from cartograph.shops import ShopError, load_shop
from cartograph.trust.causes import failure_by_checks
from cartograph.trust.evidence import SAMPLES, evidence
from cartograph.trust.gate import looked_at
from cartograph.windows import Window
from cartograph.words import counted
from ecom_assets.defs.dbt.resource import dbt_resource
from ecom_assets.defs.dbt.translator import WarehouseTranslator, model_metadata
from ecom_assets.defs.partitions import is_whole_history, whole_window, window_partitions
from ecom_assets.warehouse.built_models import built_models
from ecom_assets.warehouse.dbt_project import (
    PARSED_VARIABLE,
    dbt_environment,
    dbt_home,
    environment_of,
    failures,
    looks_at_window,
    offending_rows,
    parsed_project,
    read_manifest,
)
from ecom_assets.warehouse.dbt_vars import require_known_vars
from ecom_assets.warehouse.lake_views import pinned_views, write_views
from ecom_assets.warehouse.publishing import (
    WarehouseHeldError,
    WarehouseMissingError,
    lacking_tables,
    open_warehouse,
    relations,
    require_loaded,
    unaskable_tests,
)
from ecom_assets.warehouse.unrecorded import begin, end

_CURES = {
    "out of sync": (  # where `on_schema_change: fail` stops a model
        "The columns of a model have changed since its table was built. Run over the whole history once, which makes "
        "the tables anew: `cartograph run` without --from and --to, or all partitions in the UI."
    ),
    r'Table with name "?(?P<table>[\w.]+)"? does not exist': (
        "The warehouse lacks {table}, of which what was chosen is made. Run over the whole history once: "
        "`cartograph run` without --select, or all partitions in the UI."
    ),
}
"""What is wrong and what to do, by a sign in dbt's words."""


@dg.definitions
def warehouse_definitions() -> dg.Definitions:
    """The dbt assets of the chosen shop, and dbt itself."""
    settings = get_settings()
    shop = load_shop(settings)
    datasets = shop.datasets
    parsed = parsed_project(settings, datasets)
    translator = WarehouseTranslator(window_partitions(), settings.dbt_docs_url)

    @dbt_assets(
        manifest=read_manifest(parsed),
        name="warehouse",
        dagster_dbt_translator=translator,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="warehouse",  # DuckDB lets one process at a time open the file for writing
    )
    def warehouse(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        lake = Lake.from_settings(settings)
        views = pinned_views(lake, datasets)
        views_file, target = dbt_home(settings) / "lake_views.json", dbt_home(settings) / "run"
        write_views(views, views_file)
        # A run over the whole history makes the tables anew, and so takes in models whose columns have changed. Of a
        # table that is not there, or of a lost warehouse, a window alone would leave the rest of history out.
        try:
            require_known_vars(shop)
            require_loaded(lake, datasets)
            there = relations(settings)
        except (ShopError, WarehouseMissingError, WarehouseHeldError) as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from None
        manifest = read_manifest(parsed)
        lacking = lacking_tables(manifest, there)
        if lacking and not is_whole_history(context):
            context.log.info(f"Built over all of history, as the warehouse lacks {', '.join(lacking)}.")
        is_anew = bool(lacking) or is_whole_history(context)
        anew = ["--full-refresh"] if is_anew else []
        window = None if is_anew else whole_window(context)
        variables = dbt_environment(settings, datasets, window=window, views_file=views_file)
        unrecorded = begin(settings, f"run {context.run_id}", window)
        with environment_of({**variables, PARSED_VARIABLE: str(parsed)}):
            invocation, told = _build(context, dbt, target, [*anew, *_left_out(context, translator, manifest, there)])
        events = [event for one in told if (event := _result_of(one, manifest, translator))]
        chosen = context.selected_asset_check_keys
        for event in _described(events, settings, target, views.pins, window):
            yield _recorded(event, chosen, context.instance)
        end(settings, unrecorded, window, is_all=not context.is_subset)
        if not invocation.is_successful():
            raise failure_of(target, events) or dg.Failure(str(invocation.get_error()), allow_retries=False)

    return dg.Definitions(assets=[warehouse], resources={"dbt": dbt_resource()})


def _left_out(
    context: dg.AssetExecutionContext,
    translator: WarehouseTranslator,
    manifest: Mapping[str, Any],
    there: Collection[str],
) -> list[str]:
    """What tells dbt to leave out tests that cannot be asked yet. Their checks get no result, and so do not pass."""
    chosen = {
        unique_id
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in {"model", "seed"} and translator.get_asset_key(node) in context.selected_asset_keys
    }
    tests = unaskable_tests(manifest, chosen, there)
    if not tests:
        return []
    context.log.info(f"Not asked, as the warehouse lacks a table that they need: {', '.join(tests)}.")
    return ["--exclude", " ".join(tests)]  # dagster-dbt passes on one value


def _build(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, target: Path, flags: list[str]
) -> tuple[DbtCliInvocation, list[DbtDagsterEventType]]:
    """Run dbt to its end on what was selected: an Output for each model that was built, a check for each test that ran.

    A failure does not raise.
    """
    (target / "run_results.json").unlink(missing_ok=True)
    invocation = dbt.cli(
        ["build", "--exclude-resource-type", "unit_test", *flags],  # those prove the SQL, which no run changes
        context=context,
        target_path=target,
        raise_on_error=False,
    )
    return invocation, list(invocation.stream())


def _result_of(
    event: DbtDagsterEventType, manifest: Mapping[str, Any], translator: WarehouseTranslator
) -> DbtDagsterEventType | None:
    """The event; of a test of an asset that was not chosen, its result, which dagster-dbt tells by the assets it reads.

    dbt runs each test of which it has built something, and one that finds rows fails the run: who publishes that asset
    next must know.
    """
    if not isinstance(event, dg.AssetObservation):
        return event
    unique_id = str(event.metadata["unique_id"].value)
    key = get_asset_check_key_for_test(manifest, translator, unique_id, project=None)
    if key is None or key.asset_key != event.asset_key:
        return None  # told once for each asset that the test reads
    status = str(event.metadata["status"].value)
    severity = dg.AssetCheckSeverity.WARN if status == "warn" else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=status == "pass",
        severity=severity,
        metadata=event.metadata,
    )


def _recorded(
    event: DbtDagsterEventType, chosen: Collection[dg.AssetCheckKey], instance: dg.DagsterInstance
) -> DbtDagsterEventType:
    """The event; of a check that was not chosen its evaluation, on the latest materialisation of its asset.

    That does not end the run, as a result of a chosen check does which blocks.
    """
    if not isinstance(event, dg.AssetCheckResult) or event.asset_key is None or event.check_name is None:
        return event
    if dg.AssetCheckKey(event.asset_key, event.check_name) in chosen:
        return event
    records = instance.get_asset_records([event.asset_key])
    latest = records[0].asset_entry.last_materialization_record if records else None
    return dg.AssetCheckEvaluation(
        asset_key=event.asset_key,
        check_name=event.check_name,
        passed=bool(event.passed),
        metadata=event.metadata,
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
        )
        if latest
        else None,
        severity=event.severity,
        description=event.description,
    )


def _described(
    events: list[DbtDagsterEventType],
    settings: Settings,
    target: Path,
    pins: Mapping[str, int],
    window: Window | None,
) -> Iterator[DbtDagsterEventType]:
    """The events; each model's with its columns, their lineage, its rows, and the snapshots of the lake that dbt read.

    dagster-dbt could add them, one model and column after the other: that takes longer than dbt takes for the models.
    Each test's has its evidence, and where it looked at the run's `window` only, that.
    """
    unique_ids = {id(e): str(e.metadata["unique_id"].value) for e in events if isinstance(e, dg.Output)}
    if not events:
        return
    manifest = read_manifest(target)
    with open_warehouse(settings) as connection:
        built = built_models(connection, manifest, unique_ids.values())
        offenders = offending_rows(connection, target, SAMPLES)
    # As text: the ids are 64-bit numbers, which the UI's JavaScript would round.
    snapshots = dg.MetadataValue.json({table: str(snapshot) for table, snapshot in pins.items()})
    for event in events:
        if isinstance(event, dg.Output):
            unique_id = unique_ids[id(event)]
            described = model_metadata(manifest, unique_id, built[unique_id])
            yield event.with_metadata({**event.metadata, **described, "lake_snapshots": snapshots})
        elif isinstance(event, dg.AssetCheckResult):
            test = manifest["nodes"][str(event.metadata["unique_id"].value)]
            where = looked_at(window) if window is not None and looks_at_window(test) else {}
            told = _with_evidence(event, offenders)
            yield told._replace(metadata={**told.metadata, **where})
        else:
            yield event


def _with_evidence(event: dg.AssetCheckResult, offenders: Mapping[str, list[str]]) -> dg.AssetCheckResult:
    rows, expected = _failed_rows(event), "no row that the test selects"
    found = "no such row" if event.passed else counted(rows, "such row") if rows else "the test could not be run"
    samples = offenders.get(str(event.metadata["unique_id"].value), [])
    told = evidence(event.check_name or "", expected=expected, found=found, samples=samples)
    first = f", the first with {samples[0]}" if samples else ""
    description = None if event.passed else f"{found}{first}; expected: {expected}"
    return event._replace(metadata={**event.metadata, **told}, description=description)


def _failed_rows(event: dg.AssetCheckResult) -> int:
    """How many rows a test of dbt found; 0 where it passed, or could not be run."""
    rows = event.metadata.get("dagster_dbt/failed_row_count")
    return rows.value or 0 if isinstance(rows, dg.IntMetadataValue) else 0


def failure_of(target: Path, events: Iterable[DbtDagsterEventType]) -> dg.Failure | None:
    """What failed in the dbt run of `events`, model by model, and whether it was rows that failed checks, only.

    None where dbt did not come as far as to run a model.
    """
    failed = failures(target)
    if not failed:
        return None
    everything = "\n".join(failed)
    signs = ((re.search(pattern, everything), text) for pattern, text in _CURES.items())
    cures = [text.format(**sign.groupdict()) for sign, text in signs if sign is not None]
    errors = (e for e in events if isinstance(e, dg.AssetCheckResult) and e.severity == dg.AssetCheckSeverity.ERROR)
    checks = [
        dg.AssetCheckKey(error.asset_key, error.check_name)
        for error in errors
        if _failed_rows(error) and error.asset_key is not None and error.check_name is not None
    ]
    text = "\n".join([*cures, "The warehouse was not built:", *failed])
    return failure_by_checks(text, checks if len(checks) == len(failed) else [])
