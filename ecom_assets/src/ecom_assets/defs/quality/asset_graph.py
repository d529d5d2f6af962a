"""The asset `quality/asset_graph`: this location's graph with its checks, for the gate before a release.

How a graph becomes data, and what is made of it, is in `cartograph.trust`.
"""

import dagster as dg

from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.trust.asset_graph import TABLE, guarded_assets, write_graph


@dg.asset(
    key=["quality", "asset_graph"],
    group_name="quality",
    kinds={"iceberg"},
    owners=["team:data-platform"],
    tags={"domain": "platform"},
    metadata={"dagster/table_name": TABLE},
    description=(
        "The assets of this code location, what each is made of, and the checks that guard it: by this the gate before "
        "a release, which is in the other location, knows what must hold."
    ),
)
def asset_graph(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Write the graph that this run belongs to, also what the run leaves out."""
    assets = guarded_assets(context)
    write_graph(Lake.from_settings(get_settings()), assets)
    checks = [blocks for asset in assets for blocks in asset.checks.values()]
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(assets), "checks": len(checks), "blocking_checks": sum(checks)}
    )
