"""The gate before a release: what fails, is missing or is older than its data, in either location, keeps it back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.contents.causal import Estimated, PolicyNode
from cartograph.releases.contents.files import CUSTOMERS, PRODUCTS
from cartograph.releases.contents.tables import open_customers, open_product_features
from cartograph.settings import get_settings
from cartograph.trust.asset_graph import GuardedAsset, read_graph, write_graph
from cartograph.trust.causes import failed_checks
from cartograph.trust.gate import looked_at, standing
from cartograph.trust.overrides import overrides_in
from cartograph.windows import Window
from tests.graph.ml_location import (
    CHECK,
    failure,
    guard,
    key,
    location_in,
    record_made,
    report_check,
    report_result,
    run,
)
from tests.model.planted import planted_shop, publish

OF_PRODUCTS = ("fct_inventory_daily", "fct_order_items")
EARLY = ("2024-02-01", "2024-04-01")
"""As-of dates of a shop that is too young for a model, which makes the run short; the gate is the same."""


class Shop:
    """A location that has run, and what the other one says of its published marts."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.lake = Lake.from_settings(get_settings())
        self.store = open_store(get_settings())
        planted = planted_shop(200)
        publish(planted, self.lake)
        self.marts = tuple(planted.marts)
        guard(instance, self.lake, *self.marts)
        assert run(definitions, instance, dates=EARLY).success

    def release(self, **override: str) -> dg.ExecuteInProcessResult:
        """Materialise the release alone, as somebody may do by hand."""
        return self.definitions.resolve_job_def("ml_job").execute_in_process(
            instance=self.instance,
            asset_selection=[key("serving/release")],
            tags=tags_of(override),
            raise_on_error=False,
        )


def tags_of(override: dict[str, str]) -> dict[str, str]:
    """The tags of a run, as somebody gives them in the launchpad."""
    return {f"cartograph/{tag}": text for tag, text in override.items()}


def load(instance: dg.DagsterInstance, partition: str, *, passed: bool, **override: str) -> None:
    """Load a month of orders and publish it, as the other location does, by a run of its own for each."""

    def loaded(name: str, checks: list[dg.AssetCheckSpec]) -> dg.AssetsDefinition:
        by_month = dg.MonthlyPartitionsDefinition("2024-01-01")

        @dg.asset(key=name.split("/"), partitions_def=by_month, check_specs=checks)
        def _asset(context):  # its type would be a text here, which Dagster does not read
            first, last = (edge.replace(tzinfo=UTC) for edge in context.partition_time_window)
            yield dg.MaterializeResult()
            for spec in checks:
                where = looked_at(Window(first, last))
                yield dg.AssetCheckResult(check_name=spec.name, passed=passed, metadata=where)

        return _asset

    for name, check in (("raw/order_items", "within_limits"), ("published/fct_orders", CHECK)):
        spec = dg.AssetCheckSpec(check, asset=key(name), blocking=True)
        made = loaded(name, [spec] if name == "raw/order_items" else [])
        dg.materialize([made], instance=instance, partition_key=partition, tags=tags_of(override), raise_on_error=False)
    report_check(instance, "fct_orders", passed=True)


@pytest.fixture(scope="module")
def location(tmp_path_factory):
    with location_in(tmp_path_factory.mktemp("gate")) as location:
        yield Shop(*location)


@pytest.fixture
def shop(location):
    """The location with everything in order; again after the test."""
    guard(location.instance, location.lake, *location.marts)
    assert location.release().success
    return location


def said(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return failure(result, "serving__release")


def behind(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckKey]:
    """The failed checks that the refusal names as its only causes."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return failed_checks(event)


def test_a_table_that_was_never_made_is_named_with_what_keeps_it_back(shop, monkeypatch):
    exists = Lake.exists
    monkeypatch.setattr(Lake, "exists", lambda lake, name: name != "predictions.churn_scores" and exists(lake, name))
    report_check(shop.instance, "fct_orders", passed=False)
    message = said(shop.release())
    assert "as predictions/churn_scores was never made" in message
    assert "(blocking checks failed: rows_match_mart of published/fct_orders)" in message
    report_check(shop.instance, "fct_orders", passed=True)
    assert "never made. `cartograph status`" in said(shop.release())


def test_a_check_that_failed_in_the_other_location_keeps_a_release_back(shop):
    report_check(shop.instance, "fct_orders", passed=False)
    refused = shop.release()
    assert "blocking checks failed: rows_match_mart of published/fct_orders." in said(refused)
    assert behind(refused) == [dg.AssetCheckKey(key("published/fct_orders"), "rows_match_mart")]
    report_check(shop.instance, "fct_orders", passed=True)
    assert shop.release().success


def test_features_of_products_that_know_the_future_keep_a_release_back(shop):
    report_result(shop.instance, "features/product_features", "nothing_from_the_future", passed=False)
    refused = shop.release()
    assert "blocking checks failed: nothing_from_the_future of features/product_features." in said(refused)
    report_result(shop.instance, "features/product_features", "nothing_from_the_future", passed=True)
    assert shop.release().success


def test_what_was_made_of_features_in_which_an_error_was_found_is_made_again_before_it_goes_out(shop):
    report_result(shop.instance, "features/customer_features", "nothing_from_the_future", passed=False)
    assert run(shop.definitions, shop.instance, "features/customer_features", dates=EARLY).success
    refused = shop.release()
    assert re.search(
        r"checks found errors in what \w+/\w+ is made of: nothing_from_the_future of features/customer_features\.",
        said(refused),
    )
    assert behind(refused) == [], "it holds now, and was told when it failed"
    assert run(shop.definitions, shop.instance, dates=EARLY).success


def test_an_error_that_is_not_found_any_more_in_the_same_rows_keeps_nothing_back(shop):
    report_result(shop.instance, "features/customer_features", "nothing_from_the_future", passed=False)
    report_result(shop.instance, "features/customer_features", "nothing_from_the_future", passed=True)
    assert shop.release().success


def test_what_was_made_of_marts_that_were_published_in_spite_of_an_error_is_made_again(shop):
    graph = {asset.key: asset for asset in read_graph(shop.lake)}
    graph["published/fct_orders"] = GuardedAsset("published/fct_orders", ("raw/order_items",), {CHECK: True})
    graph["raw/order_items"] = GuardedAsset("raw/order_items", (), {"within_limits": True})
    write_graph(shop.lake, graph.values())
    load(shop.instance, "2024-03-01", passed=False, override_by="Ada", override_reason="the till was down")
    refused = run(shop.definitions, shop.instance, dates=EARLY)
    assert "blocking checks failed: within_limits of raw/order_items." in failure(refused, "serving__release")
    load(shop.instance, "2024-03-01", passed=True)
    held = r"found errors in what \w+/\w+ is made of: within_limits of raw/order_items\."
    assert re.search(held, said(shop.release()))
    assert run(shop.definitions, shop.instance, dates=EARLY).success


def test_a_check_that_is_older_than_its_data_keeps_a_release_back(shop):
    record_made(shop.instance, "published/fct_orders")
    refused = shop.release()
    message = said(refused)
    assert behind(refused) == [], "none has failed, so nobody was told"
    assert "have not run since their data changed: rows_match_mart of published/fct_orders." in message
    report_check(shop.instance, "fct_orders", passed=True)
    assert shop.release().success


def test_a_run_of_which_half_was_published_keeps_a_release_back(shop):
    """As one that was killed between its publications, which the tables of a release would be half new by."""

    def make(prefix: str, *marts: str) -> None:
        for mart in marts:
            record_made(shop.instance, f"{prefix}/{mart}")
            report_check(shop.instance, mart, passed=True)

    both = "dim_products", "dim_customers"
    graph = {asset.key: asset for asset in read_graph(shop.lake)}
    for mart in both:
        graph[f"published/{mart}"] = GuardedAsset(f"published/{mart}", (f"marts/{mart}",), {CHECK: True})
        graph[f"marts/{mart}"] = GuardedAsset(f"marts/{mart}", (), {})
    write_graph(shop.lake, graph.values())
    make("marts", *both)
    assert shop.release().success, "nothing of it was published, so what is released is as it was"
    make("published", "dim_products")
    told = f"have not run since their data changed: {CHECK} of published/dim_customers."
    assert told in said(shop.release())
    make("published", "dim_customers")
    assert shop.release().success


def test_a_check_that_never_ran_keeps_a_release_back_however_far_upstream(shop):
    graph = {asset.key: asset for asset in read_graph(shop.lake)}
    graph["published/fct_orders"] = GuardedAsset("published/fct_orders", ("marts/fct_orders",), {})
    graph["marts/fct_orders"] = GuardedAsset("marts/fct_orders", ("raw/orders",), {"only_told": False})
    graph["raw/orders"] = GuardedAsset("raw/orders", (), {"within_limits": True})
    graph["raw/reviews"] = GuardedAsset("raw/reviews", (), {"not_part_of_the_release": True})
    write_graph(shop.lake, graph.values())
    assert "blocking checks have never run: within_limits of raw/orders. Mend" in said(shop.release())


def test_nothing_is_released_before_the_other_location_has_said_what_guards_its_assets(shop, monkeypatch):
    monkeypatch.setattr("cartograph.trust.asset_graph.TABLE", "quality.not_written_yet")
    assert "quality.not_written_yet" in said(shop.release())


def test_who_overrides_is_told(shop):
    report_check(shop.instance, "fct_orders", passed=False)
    result = shop.release(override_by="Ada", override_reason="The recount is done, the check comes tomorrow.")
    assert result.success
    (warning,) = [found for found in result.get_asset_check_evaluations() if not found.passed]
    assert (warning.check_name, warning.severity) == ("all_guards_hold", dg.AssetCheckSeverity.WARN)
    assert "by Ada: The recount is done" in warning.description
    assert warning.metadata["samples"].value == ["rows_match_mart of published/fct_orders"]
    assert overrides_in(shop.instance, result.run_id) == {key("serving/release"): warning.description}


def look(
    start: int, end: int, *, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckEvaluation:
    """A look at the months from `start` up to `end` of 2024."""
    window = Window(datetime(2024, start, 1, tzinfo=UTC), datetime(2024, end, 1, tzinfo=UTC))
    metadata = {name: dg.MetadataValue.text(text) for name, text in looked_at(window).items()}
    return dg.AssetCheckEvaluation(key("raw/orders"), "within_limits", passed, metadata, severity=severity)


def warning(start: int, end: int) -> dg.AssetCheckEvaluation:
    return look(start, end, passed=False, severity=dg.AssetCheckSeverity.WARN)


WHOLE = dg.AssetCheckEvaluation(key("raw/orders"), "within_limits", True, {})
FAILED_IN_MARCH = look(3, 4, passed=False)


@pytest.mark.parametrize(
    ("history", "stands"),
    [
        ([look(1, 2, passed=True), FAILED_IN_MARCH], 1),
        ([look(3, 4, passed=True), FAILED_IN_MARCH], 0),
        ([look(1, 6, passed=True), FAILED_IN_MARCH], 0),
        ([look(3, 4, passed=True), look(1, 6, passed=False)], 1),
        ([look(1, 3, passed=True), look(3, 6, passed=True), look(1, 6, passed=False)], 0),
        ([look(1, 3, passed=True), look(4, 6, passed=True), look(1, 6, passed=False)], 2),
        ([look(1, 2, passed=True), WHOLE, FAILED_IN_MARCH], 0),
        ([look(1, 2, passed=False), FAILED_IN_MARCH], 0),
        ([warning(1, 2), FAILED_IN_MARCH], 1),
        ([look(5, 6, passed=True), warning(1, 2), FAILED_IN_MARCH], 2),
        ([warning(1, 2), warning(3, 4), FAILED_IN_MARCH], 0),
        ([warning(3, 4), WHOLE, FAILED_IN_MARCH], 0),
        ([look(1, 2, passed=True), warning(3, 4)], 1),
    ],
)
def test_a_failure_stands_until_its_partitions_are_looked_at_again(history, stands):
    found = standing(history)
    assert (found.result, found.is_latest) == (history[stands], stands == 0)


@pytest.mark.parametrize(("by", "reason"), [("Ada", ""), ("", "The recount is done."), ("Ada", "because")])
def test_half_an_override_is_none(shop, by, reason):
    report_check(shop.instance, "fct_orders", passed=False)
    assert "An override needs" in said(shop.release(override_by=by, override_reason=reason))


def test_an_override_of_a_release_that_went_out_before_is_told_as_such(shop):
    report_check(shop.instance, "fct_orders", passed=False)
    before = shop.store.current()
    result = shop.release(override_by="Ada", override_reason="The recount is done.")
    (warning,) = [found for found in result.get_asset_check_evaluations() if not found.passed]
    assert warning.description == (
        "there was nothing new to release in spite of 1 blocking check (rows_match_mart of published/fct_orders), "
        "by Ada: The recount is done."
    )
    assert shop.store.current() == before


def test_an_override_that_nothing_needs_is_no_warning(shop):
    result = shop.release(override_by="Ada", override_reason="To be on the safe side.")
    assert all(found.passed for found in result.get_asset_check_evaluations())


def test_the_service_tells_the_features_that_products_have_in_the_lake(shop):
    from tests.api.making import service

    manifest = shop.store.current()
    rows = open_product_features(shop.store.fetch(manifest.release_id) / PRODUCTS).to_pylist()
    stored = shop.lake.batches("features.product_features").read_all().to_pylist()
    latest = [row for row in stored if row["as_of_date"] == manifest.inputs.as_of]
    assert [row.pop("as_of_date") for row in latest] == [row.pop("as_of") for row in rows]
    assert sorted(latest, key=lambda row: row["product_id"]) == rows
    assert len(stored) > len(rows) > 0, "and there are earlier dates, of which nothing is released"
    with service(get_settings()) as client:
        assert client.get("/ready").json()["problem"] is None, "the golden requests of products are answered"
        for row in rows:
            product = row.pop("product_id")
            found = client.get(f"/v1/products/{product}").json()
            assert (found["as_of"], found["features"]) == (str(manifest.inputs.as_of), pytest.approx(row))
        lineage = client.get(f"/v1/lineage/product:{product}:profile").json()
    snapshots = {one["key"]: one["snapshot"] for one in lineage["assets"]}
    assert lineage["assets"][0]["key"] == "features/product_features"
    assert snapshots["features/product_features"] == manifest.inputs.snapshots["features.product_features"]
    assert set(lineage["sources"]) == {f"published/{mart}" for mart in ("dim_products", "fct_events", *OF_PRODUCTS)}


def test_released_features_of_products_are_of_the_latest_date_that_is_over(shop):
    from ml_assets.defs.marts import pin
    from ml_assets.defs.serving.gathering import released_products

    inputs = pin(shop.lake, ["features.product_features"])
    table = f"({inputs.selects['product_features']})"
    with shop.lake.connect() as con:
        first, last = con.execute(f"SELECT min(as_of_date), max(as_of_date) FROM {table}").fetchall()[0]
        assert first < last
        day = timedelta(days=1)
        for as_of, expected in ((first, {first}), (last - day, {date(2024, 3, 1)}), (last + day, {last})):
            assert set(released_products(con, inputs, as_of)["as_of"].to_pylist()) == expected
        assert len(released_products(con, inputs, first - day)) == 0


def test_a_released_policy_is_about_those_in_its_population_and_treats_nobody_else(shop):
    """A policy of before policies told their population, as an older Cartograph left it in the lake; it treats all."""
    from ml_assets.core.questions.answers import policy_contract, policy_row
    from tests.api.making import service
    from tests.api.test_causal import make_policy

    name = "email_winback_spend"
    node = PolicyNode(treats=True, gain=Estimated(value=1.0, low=0.5, high=1.5), share=1.0)
    older = make_policy(kind="treat all", features=(), nodes=(node,)).model_copy(
        update={"name": name, "population": None}
    )
    with shop.lake.overwriting(f"causal.{name}_policy", None) as writer:
        writer.write(policy_row(older, name))
    try:
        assert shop.release().success
        folder = shop.store.fetch(shop.store.current_id())
        rows = open_customers(folder / CUSTOMERS).to_pylist()
        told = {row["customer_id"]: row["email_opt_in"] for row in rows}
        assert set(told.values()) >= {0, 1}
        assert {row["customer_id"] for row in rows if row["policies"] == [name]} == {c for c in told if told[c] != 0}
        assert all(row["policies"] == [] for row in rows if row["email_opt_in"] == 0)
        with service(get_settings()) as client:
            assert client.get("/ready").json()["problem"] is None, "the golden requests of both are answered"
            (policy,) = client.get("/v1/causal/policies").json()["policies"]
            assert policy["population"] == "email_opt_in is distinct from 0"
            for customer, opted_in in told.items():
                found = client.get(f"/v1/causal/policies/{name}/customers/{customer}").json()
                expected = (True, "pays") if opted_in != 0 else (False, "outside_population")
                assert (found["treat"], found["reason"]) == expected
    finally:
        with shop.lake.overwriting(f"causal.{name}_policy", None) as writer:
            writer.write(policy_contract(name).arrow_schema().empty_table())
