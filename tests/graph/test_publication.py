"""What is published and what is not, by whichever run: a failed check behind it is asked for across runs."""

from collections.abc import Iterator
from datetime import UTC

import dagster as dg
import pytest

from cartograph.trust import publication
from cartograph.trust.asset_graph import with_graph
from cartograph.trust.automation import OVERRIDE_TAGS, RANGE_TAGS
from cartograph.trust.causes import failed_checks
from cartograph.trust.gate import looked_at
from cartograph.trust.overrides import overrides_in
from cartograph.trust.publication import require_sound
from cartograph.windows import Window

MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-07-01")
PARTITIONED = {"partitions_def": MONTHS, "backfill_policy": dg.BackfillPolicy.single_run()}
OVERRIDE = dict(zip(OVERRIDE_TAGS, ("Ada", "The count was right, see ticket 4."), strict=True))
RESULT = {"passed": True, "severity": dg.AssetCheckSeverity.ERROR}


def window_of(context: dg.AssetExecutionContext) -> Window:
    first, last = context.partition_time_window
    return Window(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))


def checked_load(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["raw", name],
        check_specs=[dg.AssetCheckSpec("is_usual", asset=["raw", name], blocking=True)],
        **PARTITIONED,
    )
    def load(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield dg.MaterializeResult()
        yield dg.AssetCheckResult(metadata=looked_at(window_of(context)), **RESULT)

    return load


@dg.asset(key=["marts", "stock"], deps=[["raw", "stock"]], **PARTITIONED)
def mart() -> None:
    """Between the load and what is published."""


@dg.asset(key=["published", "stock"], group_name="published", deps=[mart], **PARTITIONED)
def published_by_month(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A table by month."""
    return dg.MaterializeResult(metadata=require_sound(context, window_of(context)))


@dg.asset(key=["published", "stock_now"], group_name="published", deps=[mart])
def published_whole(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A table without a time axis."""
    return dg.MaterializeResult(metadata=require_sound(context, None))


@dg.asset(key=["published", "sales"], group_name="published", deps=[["raw", "sales"]])
def published_of_others(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A table that is made of something else."""
    return dg.MaterializeResult(metadata=require_sound(context, None))


@dg.asset(key=["quality", "graph"])
def graph() -> None:
    """Is told the graph."""


PUBLISHED = [published_by_month.key, published_whole.key, published_of_others.key]


class Location:
    """A code location with loads, a mart and what is published of them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        assets = [checked_load("stock"), checked_load("sales"), mart, published_by_month, published_whole]
        self.job = with_graph(
            dg.Definitions(assets=[*assets, published_of_others, graph]),
            told=graph.key,
            asking=dg.AssetSelection.groups("published"),
        ).resolve_implicit_global_asset_job_def()

    def run(self, *assets: dg.AssetKey, first: int, last: int, **tags: str) -> dg.ExecuteInProcessResult:
        keys = [f"2024-{month:02d}-01" for month in (first, last)]
        return self.job.execute_in_process(
            instance=self.instance,
            asset_selection=list(assets),
            tags={**dict(zip(RANGE_TAGS, keys, strict=True)), **tags},
            raise_on_error=False,
        )

    def load(self, month: int, *, passed: bool, severity: dg.AssetCheckSeverity = RESULT["severity"]) -> None:
        RESULT.update(passed=passed, severity=severity)
        self.run(dg.AssetKey(["raw", "stock"]), first=month, last=month)

    def publish(self, first: int = 1, last: int = 6, **tags: str) -> set[str]:
        """The tables that a run of all that is published makes."""
        self.result = self.run(mart.key, *PUBLISHED, first=first, last=last, **tags)
        made = self.result.get_asset_materialization_events()
        return {event.asset_key.path[-1] for event in made if event.asset_key.path[0] == "published"}


@pytest.fixture
def location() -> Iterator[Location]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Location(instance)


def test_what_another_run_found_keeps_back_what_is_made_of_it_and_nothing_else(location):
    location.load(4, passed=False)
    assert location.publish() == {"sales"}
    failures = [event for event in location.result.all_events if event.is_step_failure]
    assert {check for event in failures for check in failed_checks(event)} == {
        dg.AssetCheckKey(dg.AssetKey(["raw", "stock"]), "is_usual")
    }, "they were told, and are not told once more"
    said = {event.step_failure_data.user_failure_data.description for event in failures}
    assert any(
        text.startswith(
            "published/stock is not published: blocking checks failed, is_usual of raw/stock for 2024-04-01 to before "
            "2024-05-01. Mend what they found and load those partitions again"
        )
        for text in said
    ), said
    location.load(4, passed=True)
    assert location.publish() == {"stock", "stock_now", "sales"}


def test_a_table_by_month_waits_for_its_own_months_and_for_those_before_that_it_may_look_back_at(location):
    location.load(4, passed=False)
    assert location.publish(5, 6) == {"sales"}
    assert location.publish(3, 4) == {"sales"}
    assert location.publish(2, 3) == {"stock", "sales"}


def test_no_error_hides_behind_a_later_error_or_a_warning_elsewhere(location):
    location.load(1, passed=False, severity=dg.AssetCheckSeverity.WARN)
    location.load(2, passed=False)
    location.load(4, passed=False)
    assert location.publish(2, 2) == {"sales"}
    assert location.publish(1, 1) == {"stock", "sales"}, "a warning keeps nothing back"


def test_what_was_made_of_bad_rows_waits_until_it_is_made_again_though_they_are_mended(location):
    location.load(4, passed=False)
    location.run(mart.key, first=4, last=4)
    location.load(4, passed=True)
    result = location.run(*PUBLISHED, first=4, last=4)
    failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
    assert len(failures) == 2
    assert failures[0].description.startswith(
        "published/stock is not published: marts/stock was made of rows in which is_usual of raw/stock for 2024-04-01 "
        "to before 2024-05-01 found an error, and not again since. Mend what was found where it is not yet, and make"
    )
    assert not failures[0].metadata, "no check of this run, or of another, tells of it"

    other_month = location.run(*PUBLISHED, first=5, last=5).get_asset_materialization_events()
    assert [event.asset_key.path[-1] for event in other_month] == ["sales", "stock"]
    override = location.run(published_whole.key, first=4, last=4, **OVERRIDE)
    (told,) = override.get_asset_materialization_events()
    assert "marts/stock was made of rows" in told.materialization.metadata["in_spite_of"].value
    assert location.publish(4, 4) == {"stock", "stock_now", "sales"}


def test_what_no_run_made_of_bad_rows_is_published_alone(location):
    location.publish()
    location.load(4, passed=False)
    location.load(4, passed=True)
    assert location.run(*PUBLISHED, first=4, last=4).success


def test_a_check_that_never_ran_keeps_nothing_back(location):
    assert location.publish() == {"stock", "stock_now", "sales"}


def test_who_answers_for_it_publishes_and_is_told_with_what_was_published(location):
    location.load(4, passed=False)
    assert location.publish(**OVERRIDE) == {"stock", "stock_now", "sales"}
    told = location.instance.get_latest_materialization_event(published_whole.key).asset_materialization.metadata
    assert (told["override_by"].value, told["override_reason"].value) == tuple(OVERRIDE.values())
    assert told["in_spite_of"].value == "is_usual of raw/stock for 2024-04-01 to before 2024-05-01"
    (run,) = location.instance.get_runs(limit=1)
    alerted = overrides_in(location.instance, run.run_id)[published_whole.key]
    assert alerted == f"published in spite of {told['in_spite_of'].value}, by {': '.join(OVERRIDE.values())}"
    assert location.publish(**{OVERRIDE_TAGS[0]: "Ada", OVERRIDE_TAGS[1]: " " * 10}) == {"sales"}


def test_a_run_looks_once_for_all_that_it_publishes(location, monkeypatch):
    looks = []
    look = publication.standing_results
    monkeypatch.setattr(
        publication, "standing_results", lambda instance, keys: looks.append(keys) or look(instance, keys)
    )
    location.publish()
    assert sorted(key.to_user_string() for keys in looks for key in keys) == [
        "raw/sales:is_usual",
        "raw/stock:is_usual",
    ], "each check is asked for once"
