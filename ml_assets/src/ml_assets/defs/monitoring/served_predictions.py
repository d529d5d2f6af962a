"""Whether the API's models answer as the graph's scored, as an asset with a check that warns."""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.trust.evidence import checked
from ml_assets.core.models import fraud
from ml_assets.core.monitoring import served
from ml_assets.core.monitoring.quality import CALIBRATION_ERROR
from ml_assets.defs.marts import open_lake, pin, plain_failures, tells_fraud
from ml_assets.defs.metadata import markdown_table, table_metadata

KEY = dg.AssetKey(["monitoring", served.CONTRACT.dataset])
TABLE = f"monitoring.{served.CONTRACT.dataset}"
LOG = "raw.prediction_log"
CHECK = "answers_are_usual"


@dg.definitions
def served_predictions_definitions() -> dg.Definitions:
    """The asset, over the models that the shop's data allow."""
    batches = {name: batch.table for name, batch in served.BATCHES.items() if name != fraud.NAME or tells_fraud()}
    return dg.Definitions(assets=[served_asset(batches)])


def served_asset(batches: dict[str, str]) -> dg.AssetsDefinition:
    """The asset `monitoring/served_predictions` and its check; `batches` are the tables of scores, by model."""

    @dg.asset(
        key=KEY,
        deps=[dg.AssetKey(table.split(".")) for table in (LOG, *batches.values())],
        kinds={"iceberg"},
        tags={"domain": "quality"},
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=KEY,
                description=(
                    "What a model answers through the API is distributed as what it scored in the batch, where there "
                    f"are {served.FEWEST} scores of both."
                ),
            )
        ],
        description=(
            f"The scores that the API gave in the latest {served.DAYS} days, by model and version, beside those of the "
            "batch: means, population stability index, and Kolmogorov and Smirnov's distance."
        ),
    )
    def served_predictions() -> dg.MaterializeResult:
        """Compare, and replace the table."""
        lake = open_lake()
        with plain_failures():
            inputs = pin(lake, [table for table in (LOG, *batches.values()) if lake.exists(table)])
            selects = inputs.selects
            known = {name: selects[table.split(".")[1]] for name, table in batches.items() if table in inputs.snapshots}
            with lake.connect() as con:
                table = (
                    served.compare(con, selects[LOG.split(".")[1]], known)
                    if LOG in inputs.snapshots
                    else served.CONTRACT.arrow_table([])
                )
            lake.ensure(TABLE, served.CONTRACT, get_settings().partition_grain)
            with lake.overwriting(TABLE, None) as writer:
                writer.write(table)
        shown = ("model", "model_version", "served", "served_mean", "scored", "scored_mean", "stability_index")
        rows = [[_shown(row[name]) for name in shown] for row in table.to_pylist()]
        return dg.MaterializeResult(
            metadata=table_metadata(served.CONTRACT, len(table), inputs.snapshots)
            | {"served": markdown_table([name.replace("_", " ") for name in shown], rows)},
            check_results=[judge(served.judge(table))],
        )

    return served_predictions


def judge(found: list[served.Judgement]) -> dg.AssetCheckResult:
    """The check; it warns only, as those who are asked about may be others than those who were scored."""
    if not found:
        needed = f"{served.FEWEST} scores that the API gave, and as many of the batch of the same version"
        return checked(
            CHECK, True, expected=needed, found="fewer", description=f"cannot judge yet: there are fewer than {needed}"
        )
    other = [one for one in found if not one.is_alike]
    return checked(
        CHECK,
        not other,
        expected=(
            f"a stability index of at most {served.STABILITY:g}, and a mean within {CALIBRATION_ERROR:g} of the batch's"
        ),
        found="; ".join(
            f"{one.model} {one.version}: index {one.stability_index:.3f}, mean off by {one.mean_difference:.3f}"
            for one in other or found
        ),
        samples=[f"{one.model} {one.version}" for one in other],
        severity="warning",
        metadata={f"stability_index of {one.model} {one.version}": one.stability_index for one in found},
    )


def _shown(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
