"""What still holds rows in which a check found an error: by what each materialisation could read when it was made."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from cartograph.trust.asset_graph import GuardedAsset
from cartograph.trust.automation import RANGE_TAGS
from cartograph.trust.descent import heirs, keys_of
from cartograph.trust.gate import errors_ever, looked_at
from cartograph.windows import Window, advance

BY_MONTH = {
    "partitions_def": dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-07-01"),
    "backfill_policy": dg.BackfillPolicy.single_run(),
}
CHECK = "is_usual"
GRAPH = [
    GuardedAsset("raw", (), {CHECK: True}),
    GuardedAsset("table", ("raw",), {}),
    GuardedAsset("second", ("table",), {}),
    GuardedAsset("view", ("raw",), {}, is_view=True),
    GuardedAsset("of_view", ("view",), {}),
    GuardedAsset("dimension", ("raw",), {}),
    GuardedAsset("fact", ("dimension",), {}),
    GuardedAsset("refunds", ("table",), {}, looks_up=("table",)),
    GuardedAsset("of_refunds", ("refunds",), {}),
    GuardedAsset("stranger", (), {}),
    GuardedAsset("features", ("table",), {}),
    GuardedAsset("scores", ("features", "model"), {}),
    GuardedAsset("model", ("features",), {}),
]
AS_OF = ("features", "scores", "model")
IS_GOOD = {"passed": True}


def month(number: int) -> datetime:
    return datetime(2024, number, 1, tzinfo=UTC)


def definition(asset: GuardedAsset) -> dg.AssetsDefinition:
    specs = [dg.AssetCheckSpec(name, asset=asset.key, blocking=True) for name in asset.checks]
    by_month = {} if asset.key in {"dimension", "model"} else BY_MONTH

    @dg.asset(name=asset.key, deps=list(asset.upstream), check_specs=specs, **by_month)
    def _asset(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield dg.MaterializeResult()
        for spec in specs:
            first, last = context.partition_time_window
            where = looked_at(Window(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)))
            yield dg.AssetCheckResult(check_name=spec.name, metadata=where, **IS_GOOD)

    return _asset


JOB = dg.Definitions(assets=[definition(asset) for asset in GRAPH]).resolve_implicit_global_asset_job_def()


def make(instance: dg.DagsterInstance, step: str) -> None:
    """Make an asset for a month or some, as `raw 4!`: with `!` its check finds an error."""
    name, _, rest = step.partition(" ")
    first, _, last = rest.removesuffix("!").partition("-")
    keys = [f"{month(int(number)):%Y-%m-%d}" for number in (first, last or first)] if first else []
    IS_GOOD["passed"] = not rest.endswith("!")
    JOB.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name)],
        tags=dict(zip(RANGE_TAGS, keys, strict=False)),
        raise_on_error=False,
    )


@pytest.mark.parametrize("is_deleted", [False, True], ids=["kept", "deleted"])
@pytest.mark.parametrize(
    ("steps", "read", "months", "heir"),
    [
        ("raw 4!, table 4, raw 4", "table", (4, 4), "table"),
        ("raw 4!, table 4, raw 4", "table", (1, 6), "table"),
        ("raw 4!, table 4, raw 4", "table", (5, 6), None),
        ("raw 4!, table 4, raw 4", "stranger", (4, 4), None),
        ("raw 4!, table 4", "table", (4, 4), "table"),
        ("raw 4!, table 4, raw 4, table 4", "table", (4, 4), None),
        ("raw 4, table 4, raw 4!, raw 4", "table", (4, 4), None),
        ("raw 4!, raw 4, table 4", "table", (4, 4), None),
        ("raw 3-5!, table 4, raw 3-5", "table", (4, 4), "table"),
        ("raw 3-5!, raw 4, table 4", "table", (4, 4), None),
        ("raw 3-5!, raw 4, table 3-5", "table", (4, 5), "table"),
        ("raw 4!, table 4, raw 4, second 4", "second", (4, 4), "second"),
        ("raw 4!, table 4, raw 4, second 4, table 4", "second", (4, 4), "second"),
        ("raw 4!, table 4, raw 4, table 4, second 4", "second", (4, 4), None),
        ("raw 4!, of_view 4, raw 4", "of_view", (4, 4), "of_view"),
        ("raw 4!, view 4, raw 4, of_view 4", "of_view", (4, 4), None),
        ("raw 4!, view 4", "view", (4, 4), "raw"),
        ("raw 4!, dimension, fact 6", "fact", (6, 6), "fact"),
        ("raw 4!, dimension, fact 6, raw 4, dimension", "fact", (6, 6), "fact"),
        ("raw 4!, dimension, raw 4, dimension, fact 6", "fact", (6, 6), None),
        ("raw 4!, dimension, raw 4", "dimension", (6, 6), "dimension"),
        ("raw 4!, table 4, raw 4, raw 5!, table 5", "table", (4, 4), "table"),
        ("raw 4!, table 5, raw 4", "table", (5, 5), None),
        ("raw 4!, table 4, refunds 5, raw 4, table 4", "refunds", (5, 5), "refunds"),
        ("raw 4!, table 4, refunds 5, raw 4, table 4, of_refunds 5", "of_refunds", (5, 5), "of_refunds"),
        ("raw 4!, table 4, refunds 5, raw 4, table 4, refunds 5", "refunds", (5, 5), None),
        ("raw 4!, table 4, refunds 5, raw 4, table 4, refunds 6, of_refunds 6", "of_refunds", (6, 6), None),
        ("raw 4!, table 5, refunds 5, raw 4", "refunds", (5, 5), None),
        ("raw 4!, table 4, features 5, raw 4, table 4", "features", (5, 5), "features"),
        ("raw 4!, table 4, features 4, raw 4, table 4", "features", (4, 4), None),
        ("raw 4!, table 4, raw 4, table 4, features 6", "features", (6, 6), None),
        ("raw 4!, table 4, features 4-6, raw 4, table 4, features 6", "features", (6, 6), None),
        ("raw 4!, table 4, features 4-6, raw 4, table 4, features 6", "features", (5, 6), "features"),
        ("raw 4!, table 4, features 5, raw 4, table 4, features 5, scores 5", "scores", (5, 5), None),
        ("raw 4!, table 4, features 5, scores 5, raw 4, table 4, features 5", "scores", (5, 5), "scores"),
        ("raw 4!, table 4, features 5, model, raw 4, table 4, features 5-6, scores 6", "scores", (6, 6), "scores"),
        ("raw 4!, table 4, features 5, model, raw 4, table 4, features 5, model, scores 6", "scores", (6, 6), None),
    ],
)
def test_what_was_made_of_bad_rows_holds_them_until_it_is_made_again(steps, read, months, heir, is_deleted):
    """Also where somebody deletes the run in which the check failed."""
    window = Window(month(months[0]), advance(month(months[1]), "monthly"))
    with dg.DagsterInstance.ephemeral() as instance:
        for step in steps.split(", "):
            make(instance, step)
        check = dg.AssetCheckKey(dg.AssetKey("raw"), CHECK)
        errors = [(key, error) for key, found in errors_ever(instance, [check]).items() for error in found]
        assert errors
        for _, error in errors if is_deleted else []:
            instance.delete_run(error.target_materialization_data.run_id)
        errors = [(key, error) for key, found in errors_ever(instance, [check]).items() for error in found]
        found = {
            one.asset for one in heirs(instance, GRAPH, [read], keys_of(window, "monthly"), errors, "monthly", AS_OF)
        }
    assert found == (set() if heir is None else {heir})


def test_what_the_ui_wipes_of_an_asset_is_forgotten_with_its_errors():
    with dg.DagsterInstance.ephemeral() as instance:
        make(instance, "raw 4!")
        make(instance, "table 4")
        check = dg.AssetCheckKey(dg.AssetKey("raw"), CHECK)
        assert errors_ever(instance, [check])
        instance.wipe_assets([dg.AssetKey("raw")])
        assert not errors_ever(instance, [check])
