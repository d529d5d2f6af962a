"""The asset `quality/rebuild`: the marts held against a warehouse that is built anew beside them, on request."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.automation import ON_REQUEST
from cartograph.trust.evidence import SAMPLES, checked
from ecom_assets.warehouse.dbt_project import DbtProjectError, parsed_project, read_manifest
from ecom_assets.warehouse.marts import marts
from ecom_assets.warehouse.publishing import WarehouseMissingError
from ecom_assets.warehouse.rebuild import Difference, differences

KEY = dg.AssetKey(["quality", "rebuild"])
CHECK = "marts_equal_rebuild"


@dg.definitions
def rebuild_definitions() -> dg.Definitions:
    """The asset, over the marts that the chosen shop has."""
    settings = get_settings()
    datasets = load_shop(settings).datasets
    known = marts(read_manifest(parsed_project(settings, datasets)))

    @dg.asset(
        key=KEY,
        group_name="quality",
        kinds={"dbt", "duckdb"},
        owners=["team:data-platform"],
        tags={"domain": "quality", **ON_REQUEST},
        description=(
            "The warehouse built anew beside the real one, over all of history, and compared mart by mart. Made after "
            "each repair of late data, and whenever you ask for it; it takes as long as a full build."
        ),
        deps=[dg.AssetKey(["marts", mart.name]) for mart in known],
        pool="warehouse",
        check_specs=[
            dg.AssetCheckSpec(
                CHECK, asset=KEY, description="Each mart holds the rows that a build over all of history gives."
            )
        ],
    )
    def rebuild() -> dg.MaterializeResult:
        try:
            found = differences(settings, datasets, known, SAMPLES)
        except (DbtProjectError, WarehouseMissingError) as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from mistake
        return dg.MaterializeResult(metadata={"marts": len(known)}, check_results=[judge(found, len(known))])

    return dg.Definitions(assets=[rebuild])


def judge(found: list[Difference], marts_count: int) -> dg.AssetCheckResult:
    """Whether no mart differs; those that do are named."""
    return checked(
        CHECK,
        not found,
        expected=f"{marts_count} marts as a build over all of history gives them",
        found="; ".join(map(str, found)) or "no difference",
        samples=[key for difference in found for key in difference.keys],
    )
