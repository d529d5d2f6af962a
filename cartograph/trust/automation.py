"""When assets run by themselves, the named automation conditions; and what does not run but when it is asked for."""

from __future__ import annotations

import warnings

import dagster as dg
from dagster._core.definitions.declarative_automation.operators.check_operators import AllChecksCondition
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""The tags by which a run is over the partitions from one to another."""
PARTITION_TAG = "dagster/partition"
"""The tag by which a run is over one partition."""
OVERRIDE_TAGS = ("cartograph/override_by", "cartograph/override_reason")
"""The tags of a run by which somebody answers for what it publishes and releases: by name, and with a reason."""
ON_REQUEST = {"cartograph/on_request": "true"}
"""The tag of assets that run when they are asked for by name, and neither with the others nor by themselves."""


def on_request() -> dg.AssetSelection:
    """The assets that run only when they are asked for."""
    ((name, value),) = ON_REQUEST.items()
    return dg.AssetSelection.tag(name, value)


def when_trusted() -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Run when something upstream is new and no blocking check upstream forbids it.

    `eager()` alone also fires after a failed blocking check, because the failed materialisation is new; and the two
    code locations never share a run that could stop there.
    """
    return (dg.AutomationCondition.eager() & nothing_upstream_blocks()).with_label("when_trusted")


class CheckWarned(dg.AutomationCondition[dg.AssetCheckKey]):
    """A check whose latest result is a warning. Dagster's own `check_failed` does not tell warnings from errors."""

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "check_warned"

    async def evaluate(  # type: ignore[override]  # awaited, as those of Dagster's own conditions are
        self, context: dg.AutomationContext[dg.AssetCheckKey]
    ) -> dg.AutomationResult[dg.AssetCheckKey]:
        """True of a check that did not pass, and is no error."""
        record = await AssetCheckExecutionRecord.gen(context.asset_graph_view, context.key)
        result = record.evaluation if record is not None else None
        warned = (
            isinstance(result, dg.AssetCheckEvaluation)
            and not result.passed
            and result.severity == dg.AssetCheckSeverity.WARN
        )
        return dg.AutomationResult(context, context.candidate_subset if warned else context.get_empty_subset())


class BlockingChecksMatch(AllChecksCondition):
    """Dagster's condition over all blocking checks, which takes any condition of ours, too, for one that it can store.

    A location whose definitions cannot be stored is told nowhere, and none of its sensors runs.
    """

    @property
    def is_serializable(self) -> bool:
        """No: it is evaluated in the code location."""
        return False


def nothing_upstream_blocks() -> dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey]:
    """Each blocking check upstream has run on what is there, and passed or warned; or it runs in the same tick.

    `all_deps_blocking_checks_passed()`, where a warning is as bad as an error, would stop all that is downstream of a
    column that is new, which keeps nothing back in a run.
    """
    check = dg.AutomationCondition
    warned = check.check_failed() & CheckWarned()
    allows = check.check_passed() | warned | check.will_be_requested()
    blocking = BlockingChecksMatch(operand=allows, blocking_only=True).with_label("no_blocking_check_failed")
    return check.all_deps_match(blocking).with_label("nothing_upstream_blocks")


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions, under the name of Dagster's own, which does not know ours.

    It is evaluated in the code location, where `CheckWarned` can be imported. Dagster warns that this is beta: nobody
    who runs a command can do anything about it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            "default_automation_condition_sensor",
            target=dg.AssetSelection.all().without_checks(),
            use_user_code_server=True,
        )
