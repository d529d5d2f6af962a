"""The figures of a planted shop as the graph makes them: they tie out, and where a mart says otherwise, they do not."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cartograph.lake import Lake
from cartograph.settings import get_settings
from tests.graph.ml_location import forget_location, guard, load_location, materialized, run
from tests.model.planted import planted_shop, publish, publish_marts

FEATURES, KPIS = "features/customer_features", "serving/kpis"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("kpis")
    definitions = load_location(patch, folder)
    planted, lake = planted_shop(120), Lake.from_settings(get_settings())
    publish(planted, lake)
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        guard(instance, lake, *planted.marts)

        def go() -> dg.ExecuteInProcessResult:
            return run(definitions, instance, FEATURES, KPIS, dates=("2024-06-01", "2024-08-01"))

        yield planted, lake, go
    patch.undo()
    forget_location()


def found(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "kpis_tie_out"]
    return check


def test_the_figures_are_those_of_the_marts_up_to_the_as_of_date(shop):
    planted, lake, go = shop
    result = go()
    assert result.success
    assert KPIS in materialized(result)
    assert found(result).passed
    rows = lake.batches("serving.kpis").read_all()
    total = rows.filter(pc.equal(rows["dimension"], "total"))
    as_of = pc.max(total["date"]).as_py()
    orders = planted.marts["fct_orders"]
    kept = orders.filter(
        pc.and_(pc.invert(orders["is_cancelled"]), pc.less_equal(orders["order_date"], pa.scalar(as_of, pa.date32())))
    )
    assert pc.sum(total["revenue"]).as_py() == pc.sum(kept["total_amount"]).as_py()
    assert pc.sum(total["orders"]).as_py() == len(kept)
    assert set(rows["value"].to_pylist()) >= {"AT", "direct", "desktop", "Champions", "shelf 0", "all"}


def test_a_mart_that_says_otherwise_is_told_and_blocks(shop):
    planted, lake, go = shop
    sales = planted.marts["agg_daily_sales"]
    more = pc.add(sales["orders_count"], 1)
    place = sales.column_names.index("orders_count")
    publish_marts({"agg_daily_sales": sales.set_column(place, "orders_count", more)}, lake)
    check = found(go())
    assert (check.passed, check.blocking, check.severity) == (False, True, dg.AssetCheckSeverity.ERROR)
    assert "orders of 2024-" in str(check.metadata["samples"].value)
    publish_marts({"agg_daily_sales": sales}, lake)
    assert found(go()).passed
