"""The assets `published/*`: each mart of the warehouse as a lake table, for everyone outside the warehouse.

The copying and its reckoning are in `ecom_assets.warehouse.publishing`; what a mart holds is said in `dbt_project/`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import SAMPLES, checked
from cartograph.trust.publication import require_sound
from ecom_assets.components.source_component import column_schema
from ecom_assets.defs.partitions import is_whole_history, whole_window, window_partitions
from ecom_assets.warehouse.dbt_project import parsed_project, read_manifest
from ecom_assets.warehouse.marts import Mart, marts
from ecom_assets.warehouse.publishing import (
    Published,
    Totals,
    differing_keys,
    mart_totals,
    open_warehouse,
    publish,
    published_totals,
)
from ecom_assets.warehouse.unrecorded import UnrecordedError, require_recorded

OWNERS = ["team:data-platform"]


@dg.definitions
def published_definitions() -> dg.Definitions:
    """One asset for each mart that the chosen shop has."""
    settings = get_settings()
    manifest = read_manifest(parsed_project(settings, load_shop(settings).datasets))
    return dg.Definitions(assets=[published_asset(mart) for mart in marts(manifest)])


def published_asset(mart: Mart) -> dg.AssetsDefinition:
    """The asset `published/<mart>`, partitioned as the mart is."""
    key, source = dg.AssetKey(["published", mart.name]), dg.AssetKey(["marts", mart.name])
    by_window = mart.contract.event_time is not None

    @dg.asset(
        key=key,
        deps=[source],
        description=f"{mart.contract.grain} The mart as a lake table, which any Iceberg engine reads.",
        group_name="published",
        kinds={"iceberg", "duckdb"},
        owners=OWNERS,
        tags={"domain": mart.domain, **({"pii": "true"} if mart.has_pii else {})},
        metadata={"dagster/column_schema": column_schema(mart.contract), "dagster/table_name": mart.table},
        partitions_def=window_partitions() if by_window else None,
        backfill_policy=dg.BackfillPolicy.single_run() if by_window else None,
        pool="warehouse",
        check_specs=[
            dg.AssetCheckSpec(
                "rows_match_mart",
                asset=key,
                blocking=True,
                description="What was published has the rows, and the sum of each amount and count, that the mart has.",
            )
        ],
    )
    def _published(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        settings = get_settings()
        lake = Lake.from_settings(settings)
        # A run over the whole history has made the mart anew, so all that is published of it is replaced.
        is_whole = not by_window or is_whole_history(context)
        window = None if is_whole else mart.replaced(whole_window(context))
        override = require_sound(context, window)
        try:
            require_recorded(settings)
        except UnrecordedError as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from None
        with open_warehouse(settings) as warehouse:
            done = publish(warehouse, lake, mart, grain=settings.partition_grain, window=window)
            expected = mart_totals(warehouse, mart, window)
            found = published_totals(warehouse, lake, mart, window)
            strays = differing_keys(warehouse, lake, mart, window, SAMPLES) if found != expected else []
        yield dg.MaterializeResult(metadata=_metadata(done, mart, source) | override)
        yield rows_match_mart(expected, found, strays)

    return _published


def rows_match_mart(expected: Totals, found: Totals, strays: Sequence[str]) -> dg.AssetCheckResult:
    """Hold the totals of what was published against the mart's; `strays` are keys whose rows differ."""
    told = [name for name in expected if name == "rows" or found == expected or found[name] != expected[name]]
    return checked(
        "rows_match_mart",
        found == expected,
        expected="in the warehouse " + ", ".join(f"{name} {expected[name]:,}" for name in told),
        found="in the lake " + ", ".join(f"{name} {found[name]:,}" for name in told),
        samples=strays,
    )


def _metadata(done: Published, mart: Mart, source: dg.AssetKey) -> dict[str, Any]:
    lineage = {name: [dg.TableColumnDep(asset_key=source, column_name=name)] for name in mart.contract.names}
    return {
        "dagster/row_count": done.table_rows,
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "rows_written": done.rows,
        "bytes_written": done.bytes,
        "snapshot_id": str(done.snapshot_id),  # a 64-bit number, which the UI's JavaScript would round
    }
