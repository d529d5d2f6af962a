"""An experiment as a component: the integrity of its assignments, and its result with memo and pictures.

The form of its attributes is `ml_assets.core.experiments.form`. Which files there are is
`ml_assets.defs.experiments.files`'s business.
"""

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.experiments.form import Experiment
from ml_assets.core.experiments.integrity import Check
from ml_assets.core.experiments.panel import assignments
from ml_assets.core.experiments.pictures import shares_over_time
from ml_assets.core.experiments.report import Report, contract, integrity, report, row_of, unsound
from ml_assets.defs.marts import depends_on, open_lake, pin, plain_failures, published
from ml_assets.defs.metadata import markdown_picture, markdown_table, snapshot_metadata, table_metadata

SOUND = "estimates_are_sound"
ALIKE = "variants_were_alike_before"
CHECKS = {
    "sample_ratio_holds": "Each variant has its planned share of the customers (chi-square test, p at least 0.001).",
    "nobody_has_two_variants": "No customer was assigned to two variants.",
    "variants_are_known": "No customer was assigned to a variant that the plan does not have.",
    "assigned_while_it_ran": "Nobody was assigned before the first or after the last day.",
    "nobody_is_exposed_before": "Nobody met the change before they were assigned.",
}
"""The checks of an experiment's assignments, and what they assert."""
ABOUT_ALIKE = "The variants did the same before the assignment, as far as chance goes (p at least 0.001)."


class RandomisedExperiment(Experiment, dg.Component, dg.Resolvable):
    """An experiment, as `experiments/<name>_assignments` with its checks, and `experiments/<name>`."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The assignments with their checks, and the result with its own."""
        return dg.Definitions(assets=[assignments_asset(self), result_asset(self)])


def assignments_key(name: str) -> dg.AssetKey:
    """The asset that looks at the assignments."""
    return dg.AssetKey(["experiments", f"{name}_assignments"])


def result_key(name: str) -> dg.AssetKey:
    """The asset of the result."""
    return dg.AssetKey(["experiments", name])


def result_table(name: str) -> str:
    """The lake's table of the result."""
    return ".".join(result_key(name).path)


def assignments_asset(experiment: Experiment) -> dg.AssetsDefinition:
    """The asset that holds an experiment's assignments against its plan; a failed check only warns.

    A bad experiment must not stop a shop's release: its own result is `invalid` then, and has no estimate.
    """
    key = assignments_key(experiment.name)
    names = [name for name in CHECKS if experiment.exposure or name != "nobody_is_exposed_before"]

    @dg.asset(
        key=key,
        deps=depends_on(experiment.marts),
        kinds={"duckdb"},
        owners=[experiment.owner],
        tags={"domain": "marketing"},
        metadata={"definition": dg.MetadataValue.json(experiment.model_dump(mode="json"))},
        check_specs=[dg.AssetCheckSpec(name, asset=key, description=CHECKS[name]) for name in names],
        description=(
            f"{experiment.description} Who was assigned to which variant, held against the plan: shares, double "
            "assignments, days."
        ),
    )
    def _assignments() -> dg.MaterializeResult:
        lake = open_lake()
        with plain_failures(), lake.connect() as con:
            inputs = pin(lake, published(experiment.marts))
            found = assignments(con, inputs.selects, experiment)
        if found is None:
            told = f"nobody is assigned to {experiment.assigned_as} yet"
            return dg.MaterializeResult(
                metadata={"abstained": told, "lake_snapshots": snapshot_metadata(inputs.snapshots)},
                check_results=[check_result(Check(name, True, f"cannot judge yet: {told}")) for name in names],
            )
        return dg.MaterializeResult(
            metadata={
                "customers": found.assigned.units,
                "state": found.span.state,
                "variants": markdown_table(
                    ("variant", "customers", "planned share"),
                    [(name, found.counts[name], share) for name, share in experiment.shares.items()],
                ),
                "assignment": markdown_picture(shares_over_time(found.days, found.shares, experiment.shares)),
                "lake_snapshots": snapshot_metadata(inputs.snapshots),
            },
            check_results=[check_result(check) for check in integrity(found, experiment)],
        )

    return _assignments


def check_result(check: Check) -> dg.AssetCheckResult:
    """The result of a test of the assignments."""
    return checked(
        check.name,
        check.passed,
        expected=CHECKS[check.name],
        found=check.detail,
        severity="warning",
        description=check.detail,
    )


def result_asset(experiment: Experiment) -> dg.AssetsDefinition:
    """The asset of an experiment's result: effects, decision and memo; an invalid one has no effect."""
    key, table = result_key(experiment.name), contract(experiment)

    @dg.asset(
        key=key,
        deps=[assignments_key(experiment.name), *depends_on(experiment.marts)],
        kinds={"scipy", "iceberg"},
        owners=[experiment.owner],
        tags={"domain": "marketing"},
        check_specs=[
            dg.AssetCheckSpec(
                SOUND,
                asset=key,
                blocking=True,
                description="Estimates are finite, and an experiment whose assignment is not sound has none.",
            ),
            *([dg.AssetCheckSpec(ALIKE, asset=key, description=ABOUT_ALIKE)] if experiment.covariate_days else []),
        ],
        description=(
            f"{experiment.description} What each variant did to each metric, with intervals of one look and of every "
            "look, and the decision to ship, hold or stop."
        ),
    )
    def _result() -> dg.MaterializeResult:
        lake, currency = open_lake(), load_shop(get_settings()).currency
        name = result_table(experiment.name)
        with plain_failures():
            inputs = pin(lake, published(experiment.marts))
            with lake.connect() as con:
                made = report(con, inputs.selects, experiment, currency)
            lake.ensure(name, table, None)
            with lake.overwriting(name, None) as writer:
                writer.write(row_of(made, table.arrow_schema()))
        return dg.MaterializeResult(
            metadata=table_metadata(table, 1, inputs.snapshots) | told(made),
            check_results=[soundness(made), *([alikeness(made)] if experiment.covariate_days else [])],
        )

    return _result


def told(made: Report) -> dict[str, dg.MetadataValue | str]:
    """The decision, the memo and the pictures."""
    shown = {f"picture_{picture.name}": markdown_picture(picture) for picture in made.pictures}
    return {
        "verdict": made.result.verdict,
        "choice": made.result.choice or "none",
        "memo": dg.MetadataValue.md(made.result.memo),
        **shown,
    }


def soundness(made: Report) -> dg.AssetCheckResult:
    """Whether the result may leave."""
    wrong = unsound(made.result)
    return checked(
        SOUND,
        not wrong,
        expected="finite estimates, and none of an experiment that is not valid",
        found=f"{len(wrong)} that must not leave" if wrong else f"{len(made.result.estimates)} estimates",
        samples=wrong,
    )


def alikeness(made: Report) -> dg.AssetCheckResult:
    """Whether the variants were alike in what was measured before the assignment."""
    found = next((check for check in made.result.integrity if check.name == ALIKE), None)
    passed, told = (found.passed, found.detail) if found else (True, "cannot judge: the customers were not compared")
    return checked(ALIKE, passed, expected=ABOUT_ALIKE, found=told, severity="warning", description=told)
