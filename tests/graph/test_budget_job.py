"""The budget's assets on planted channels: what they store, what they say of too little, and what is released."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from benchmarks.support.planted_channels import (
    MARGIN_RATE,
    REVENUE_OF_ORDER,
    PlantedChannels,
    planted_channels,
)
from cartograph.lake import Lake
from cartograph.releases.contents.causal import Budget
from cartograph.releases.contents.files import BUDGET_FILE
from cartograph.settings import Settings, get_settings
from tests.api.making import publish, service
from tests.graph.ml_location import failure, forget_location, guard, key, load_location, location_in
from tests.model.planted import publish_marts

DATASETS = ("customers", "products", "orders", "order_items", "campaigns", "marketing_spend")
RESPONSE, BUDGET = "causal/channel_response", "causal/budget_allocation"
OP = "causal__budget_allocation"


def marts_of(planted: PlantedChannels) -> dict[str, pa.Table]:
    """The marts of which the planted panel is made again."""
    panel = planted.panel
    days = np.array(panel.dates, dtype=object)
    counts = {**dict(zip(panel.channels, panel.credited, strict=True)), "direct": panel.other}
    order_days = np.concatenate([np.repeat(days, daily.astype(int)) for daily in counts.values()])
    channel = np.repeat(list(counts), [int(daily.sum()) for daily in counts.values()])
    midnight = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in order_days]
    rows = len(order_days)
    orders = pa.table(
        {
            "order_id": pa.array([f"O{at}" for at in range(rows)]),
            "ordered_at": pa.array(midnight, pa.timestamp("us", "UTC")),
            "order_date": pa.array(order_days, pa.date32()),
            "channel": pa.array(channel.tolist()),
            "campaign_id": pa.nulls(rows, pa.string()),
            "is_cancelled": pa.array(np.zeros(rows, dtype=bool)),
        }
    )
    places = [(row, at) for row in range(len(panel.channels)) for at in range(len(days))]
    spend = pa.table(
        {
            "campaign_id": pa.array([f"{panel.channels[row]}_1" for row, _ in places]),
            "spend_date": pa.array([days[at] for _, at in places], pa.date32()),
            "channel": pa.array([panel.channels[row] for row, _ in places]),
            "spend_amount": pa.array([float(panel.spend[place]) for place in places]),
        }
    )
    total = panel.orders
    sales = pa.table(
        {
            "order_date": pa.array(days, pa.date32()),
            "orders_count": pa.array(total.astype(np.int64)),
            "gross_amount": pa.array(total * REVENUE_OF_ORDER),
            "discount_amount": pa.array(total * REVENUE_OF_ORDER * planted.discounts),
            "revenue_amount": pa.array(total * REVENUE_OF_ORDER),
            "margin_amount": pa.array(total * REVENUE_OF_ORDER * MARGIN_RATE),
        }
    )
    dates = pa.table({"date_day": pa.array(days, pa.date32()), "is_holiday": pa.array(np.zeros(len(days), dtype=bool))})
    campaigns = pa.table(
        {
            "campaign_id": pa.array(["email_1"]),
            "started_at": pa.array([midnight[0] + timedelta(days=300)], pa.timestamp("us", "UTC")),
        }
    )
    return {
        "fct_orders": orders,
        "fct_marketing_spend": spend,
        "agg_daily_sales": sales,
        "dim_dates": dates,
        "dim_campaigns": campaigns,
    }


class Shop:
    """The location's definitions, its lake, and what the first run of the two assets gave."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.lake = Lake.from_settings(get_settings())
        self.marts = marts_of(planted_channels(2))
        publish_marts(self.marts, self.lake)
        guard(instance, self.lake, *self.marts)
        self.first = self.run()

    def run(self, **config: object) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def("ml_job").execute_in_process(
            instance=self.instance,
            asset_selection=[key(RESPONSE), key(BUDGET)],
            run_config={"ops": {OP: {"config": config}}} if config else None,
            raise_on_error=False,
        )

    def rows(self, table: str) -> list[dict]:
        return [row for batch in self.lake.batches(table) for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with location_in(tmp_path_factory.mktemp("budget"), datasets=DATASETS) as location:
        yield Shop(*location)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict:
    events = result.get_asset_materialization_events()
    return next(e.materialization.metadata for e in events if e.asset_key == key(asset))


def test_responses_and_a_budget_are_stored_shown_and_checked(shop):
    assert shop.first.success
    assert all(found.passed for found in checks(shop.first).values())
    assert len(checks(shop.first)) == 6
    responses, lines = shop.rows("causal.channel_response"), shop.rows("causal.budget_allocation")
    assert [row["channel"] for row in lines] == ["affiliate", "display", "search", "social"]
    assert sum(row["share"] for row in responses) == pytest.approx(1)
    assert {row["as_of_date"] for row in lines} == {date(2026, 1, 1)}
    assert responses[0]["margin_rate"] == pytest.approx(MARGIN_RATE)
    for asset, picture in ((RESPONSE, "curves"), (BUDGET, "picture")):
        assert "data:image/svg+xml;base64," in metadata(shop.first, asset)[picture].value


def test_running_again_gives_the_same(shop):
    before = shop.rows("causal.budget_allocation")
    assert shop.run().success
    assert shop.rows("causal.budget_allocation") == before


def test_a_budget_keeps_what_the_configuration_asks(shop):
    assert shop.run(total_change=-0.2, lowest=0.1, highest=1.0, bounds={"social": [1.0, 1.0]}).success
    rows = {row["channel"]: row for row in shop.rows("causal.budget_allocation")}
    assert rows["social"]["proposed_amount"] == pytest.approx(rows["social"]["today_amount"])
    total = sum(row["today_amount"] for row in rows.values())
    assert sum(row["proposed_amount"] for row in rows.values()) <= 0.8 * total + 1e-6
    assert shop.run().success


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"lowest": 2.0, "highest": 1.0},
            "the bounds of every channel must be 0 <= lowest <= highest, not 2.0 and 1.0",
        ),
        ({"bounds": {"tv": [0.0, 1.0]}}, "bounds of tv: there is no such channel"),
        ({"bounds": {"social": [1.0]}}, "the bounds of social must be two numbers, the lowest and the highest"),
    ],
)
def test_limits_that_make_no_sense_fail_with_the_reason(shop, config, said):
    assert said in failure(shop.run(**config), OP)


def test_a_proposal_beyond_its_limits_is_stopped(shop, monkeypatch):
    from ml_assets.core.budget import allocation

    monkeypatch.setattr(allocation, "best", lambda *given: 3 * given[-1])
    failed = {name for name, found in checks(shop.run()).items() if not found.passed}
    assert failed == {"budget_within_limits", "spend_was_seen", "earns_at_least_today"}
    monkeypatch.undo()
    assert shop.run().success


def test_what_is_released_is_what_the_api_says(shop, tmp_path):
    from ml_assets.defs.marts import pin
    from ml_assets.defs.serving.gathering import released_budget

    with shop.lake.connect() as con:
        budget = released_budget(con, pin(shop.lake, ["causal.budget_allocation"]))
    assert [line.proposed for line in budget.lines] == [
        row["proposed_amount"] for row in shop.rows("causal.budget_allocation")
    ]
    settings = Settings(home=tmp_path)
    publish(settings, replaced={BUDGET_FILE: budget.model_dump_json().encode()})
    with service(settings) as client:
        assert Budget.model_validate(client.get("/v1/causal/budget").json()["budget"]) == budget


def test_too_little_and_spend_that_shows_nothing_give_no_budget_and_the_reason(shop):
    from ml_assets.defs.marts import pin
    from ml_assets.defs.serving.gathering import released_budget

    draw = np.random.default_rng(5)
    whole = shop.marts["fct_orders"]
    no_effect = whole.set_column(
        whole.column_names.index("order_date"),
        "order_date",
        pa.array(draw.choice(whole["order_date"].unique().to_pylist(), len(whole)), pa.date32()),
    )
    try:
        publish_marts({"fct_orders": no_effect}, shop.lake)
        result = shop.run()
        assert result.success
        assert [name for name, found in checks(result).items() if not found.passed] == ["channels_tell_held_out_weeks"]
        assert metadata(result, BUDGET)["abstained"].value.startswith("the data do not show that the channels do")
        publish_marts({"fct_orders": whole.slice(0, 500)}, shop.lake)
        result = shop.run()
        assert result.success
        assert all(found.passed for found in checks(result).values())
        assert "1,000 in 180 are needed" in metadata(result, RESPONSE)["abstained"].value
        assert shop.rows("causal.budget_allocation") == []
        with shop.lake.connect() as con:
            assert released_budget(con, pin(shop.lake, ["causal.budget_allocation"])) is None
    finally:
        publish_marts(shop.marts, shop.lake)
        assert shop.run().success


def test_a_shop_that_does_not_tell_its_spend_has_no_such_assets(monkeypatch, tmp_path):
    graph = load_location(monkeypatch, tmp_path, datasets=DATASETS[:-1]).resolve_asset_graph()
    monkeypatch.undo()
    forget_location()
    assert not {key(RESPONSE), key(BUDGET)} & set(graph.get_all_asset_keys())
