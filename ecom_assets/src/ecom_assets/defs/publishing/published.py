"""The assets `published/*`: each mart of the warehouse as a lake table, for everyone outside the warehouse.

The copying and its reckoning are in `ecom_assets.warehouse.publishing`; what a mart holds is said in `dbt_project/`.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ecom_assets.components.source_component import column_schema
from ecom_assets.defs.partitions import whole_window, window_partitions
from ecom_assets.warehouse.dbt_project import parsed_project, read_manifest
from ecom_assets.warehouse.marts import Mart, marts
from ecom_assets.warehouse.publishing import Published, mart_rows, open_warehouse, publish, published_rows

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
                description="What was published has as many rows in the lake as in the warehouse.",
            )
        ],
    )
    def _published(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        settings = get_settings()
        lake, window = Lake.from_settings(settings), mart.replaced(whole_window(context)) if by_window else None
        with open_warehouse(settings) as warehouse:
            done = publish(warehouse, lake, mart, grain=settings.partition_grain, window=window)
            expected = mart_rows(warehouse, mart, window)
        yield dg.MaterializeResult(metadata=_metadata(done, mart, source))
        stored = published_rows(lake, mart, window)
        yield checked(
            "rows_match_mart",
            stored == expected,
            expected=f"{expected:,} rows, as in the warehouse",
            found=f"{stored:,} rows in the lake",
        )

    return _published


def _metadata(done: Published, mart: Mart, source: dg.AssetKey) -> dict[str, Any]:
    lineage = {name: [dg.TableColumnDep(asset_key=source, column_name=name)] for name in mart.contract.names}
    return {
        "dagster/row_count": done.table_rows,
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "rows_written": done.rows,
        "bytes_written": done.bytes,
        "snapshot_id": str(done.snapshot_id),  # a 64-bit number, which the UI's JavaScript would round
    }
