"""The figures over HTTP are those that are counted one order after the other, for any range, grain and dimension."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import httpx
import pytest
from hypothesis import given
from hypothesis import settings as checking
from hypothesis import strategies as st

from api.schemas.kpis import KpiFigures, KpiList
from cartograph.releases import Manifest
from cartograph.releases.contents.files import KPI_CUSTOMERS, KPI_FILE, KPIS
from cartograph.settings import Settings
from ml_assets.core import kpis
from tests.api.figuring import AS_OF, FIRST, VALUES, Order, counted, kpi_files, marts
from tests.api.making import problem, publish, service

ORDERS = [
    Order(
        day=n * 7 % 61,
        customer=None if n % 11 == 0 else n % 17,
        country=("DE", "AT", None)[n % 3],
        product=n % 4,
        units=1 + n % 3,
        cancelled=n % 13 == 0,
        refunded=n % 5 == 0,
    )
    for n in range(300)
]
UNKNOWN_PARTS = b'[{"name": "x", "description": "", "unit": "ratio", "formula": "a / b", "dimensions": []}]'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Manifest]]:
    settings = Settings(home=tmp_path_factory.mktemp("kpis"))
    manifest = publish(settings, replaced=kpi_files(ORDERS))
    with service(settings) as client:
        yield client, manifest


def test_the_figures_are_listed_with_what_they_can_be_split_by(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    listed = client.get("/v1/kpis").json()
    assert KpiList.model_validate(listed, extra="forbid").model_dump(mode="json") == listed
    assert (listed["release_id"], listed["first"], listed["last"]) == (manifest.release_id, "2025-11-01", "2025-12-31")
    units = {one["name"]: one["unit"] for one in listed["kpis"]}
    assert units["net_revenue"] == "EUR"
    assert units["orders"] == "count"
    assert units["conversion"] == "ratio"
    dimensions = {one["name"]: one["dimensions"] for one in listed["kpis"]}
    assert dimensions["sales"] == ["country", "channel", "device", "segment", "category"]
    assert "category" not in dimensions["revenue"]


@pytest.mark.parametrize("grain", ["day", "week", "month", "total"])
@pytest.mark.parametrize("by", ["country", "segment", None])
@pytest.mark.parametrize("name", ["orders", "customers", "revenue", "refunds"])
def test_a_figure_is_what_is_counted(
    shop: tuple[httpx.Client, Manifest], name: str, by: str | None, grain: str
) -> None:
    client, _ = shop
    query = {"from": "2025-11-05", "to": "2025-12-30", "grain": grain, "limit": 1000, **({"by": by} if by else {})}
    answer = client.get(f"/v1/kpis/{name}", params=query).json()
    assert KpiFigures.model_validate(answer, extra="forbid").model_dump(mode="json") == answer
    value = VALUES[by or "total"]
    days: list[date] = []
    for one in answer["figures"]:
        first, last = date.fromisoformat(one["first"]), date.fromisoformat(one["last"])
        of_value = [order for order in ORDERS if by is None or value(order) == one["value"]]
        assert one["figure"] == pytest.approx(counted(name, of_value, first, last)), one
        days += [] if first in days else [first + timedelta(days=n) for n in range((last - first).days + 1)]
        if grain == "week":
            assert first.weekday() == 0 or first == date(2025, 11, 5)
    assert days == [date(2025, 11, 5) + timedelta(days=n) for n in range(56)], "each day is in one period"
    assert answer["next"] is None


@checking(max_examples=15)
@given(
    st.lists(
        st.builds(
            Order, st.integers(0, 20), st.none() | st.integers(0, 4), st.sampled_from(["DE", None]), st.integers(0, 3),
            st.integers(1, 3), st.booleans(), st.booleans(),
        ),
        min_size=1, max_size=25,
    ),
    st.integers(0, 20), st.integers(0, 20),
)  # fmt: skip
def test_customers_and_sums_of_any_range_are_exact(
    tmp_path_factory: pytest.TempPathFactory, orders: list[Order], start: int, length: int
) -> None:
    from api.services.kpis import Asked, Kpis

    folder = tmp_path_factory.mktemp("any")
    for name, content in kpi_files(orders).items():
        (folder / name).write_bytes(content or b"")
    loaded = Kpis.load(folder, AS_OF)
    first, last = FIRST + timedelta(days=start), FIRST + timedelta(days=start + length)
    for name in ("customers", "orders", "units", "sales", "refunds"):
        for by in ("total", "category") if name != "orders" else ("total", "country"):
            found = loaded.figures(loaded.kpis[name], Asked(first, last, "total", by))
            values = {VALUES[by](one) for one in orders if not one.cancelled}
            assert {one.value for one in found} >= values or not found
            for one in found:
                of_value = [order for order in orders if VALUES[by](order) == one.value]
                assert one.figure == pytest.approx(counted(name, of_value, first, last)), (name, by)


def test_what_is_made_of_two_figures_is_their_difference_or_ratio(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop

    def total(name: str, **query: str) -> float:
        answer = client.get(f"/v1/kpis/{name}", params={"from": "2025-11-01", "grain": "total", **query}).json()
        return float(answer["figures"][0]["figure"])

    assert total("net_revenue") == pytest.approx(total("revenue") - total("refunds"))
    assert total("average_order_value") == pytest.approx(total("revenue") / total("orders"))
    assert total("revenue_per_customer") == pytest.approx(total("revenue") / total("customers"))
    assert total("margin_rate") == pytest.approx(total("margin") / total("sales"))
    assert total("conversion") == pytest.approx(0.2)
    assert total("bounce_rate", by="device") == pytest.approx(0.1)
    empty = client.get("/v1/kpis/conversion?from=2025-11-01&to=2025-11-02").json()["figures"]
    assert [one["figure"] for one in empty] == [None, None]


def test_a_shop_that_does_not_tell_its_costs_has_no_margin() -> None:
    """Rather than one of 0."""

    def names(**given: bool) -> set[str]:
        return {one["name"] for one in json.loads(kpi_files(ORDERS, **given)[KPI_FILE] or b"")}

    assert names() - names(has_costs=False) == {"margin", "margin_rate"}


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_the_pages_hold_each_figure_once(shop: tuple[httpx.Client, Manifest], limit: int) -> None:
    client, _ = shop
    query = {"from": "2025-12-25", "by": "country", "limit": limit}
    seen, cursor = [], ""
    while cursor is not None and len(seen) < 100:
        page = client.get("/v1/kpis/orders", params=query | {"cursor": cursor}).json()
        seen, cursor = [*seen, *page["figures"]], page["next"]
    whole = client.get("/v1/kpis/orders", params=query | {"limit": 1000}).json()
    assert seen == whole["figures"]
    assert len(seen) == 7 * 3


def test_without_a_range_it_is_the_last_thirty_days_known(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    answer = client.get("/v1/kpis/orders").json()
    assert (answer["first"], answer["last"], len(answer["figures"])) == ("2025-12-02", "2025-12-31", 30)
    wide = client.get("/v1/kpis/orders?from=0001-01-01&to=9999-12-31&grain=total").json()
    assert (wide["first"], wide["last"]) == ("2025-11-01", "2025-12-31")


@pytest.mark.parametrize(
    "query", ["from=2030-01-01", "to=2025-10-31", "from=2026-01-01&to=2026-01-31", "to=0001-01-01"]
)
def test_a_range_of_which_nothing_is_known_says_so(shop: tuple[httpx.Client, Manifest], query: str) -> None:
    detail = problem(shop[0].get(f"/v1/kpis/orders?{query}"), 404, "no-days")["detail"]
    assert "from 2025-11-01 to 2025-12-31" in detail
    first, last = (shop[0].get(f"/v1/kpis/orders?{edge}").json() for edge in ("to=2025-11-01", "from=2025-12-31"))
    assert (len(first["figures"]), len(last["figures"])) == (1, 1)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("by=category", "by"),
        ("by=total", "by"),
        ("from=2025-12-02&to=2025-12-01", "from"),
        ("from=yesterday", "from"),
        ("from=2025-12-01T00:00:00", "from"),
        ("to=0", "to"),
        ("to=1767139200", "to"),
        ("grain=hour", "grain"),
        ("limit=0", "limit"),
        ("cursor=WyJhIl0", "cursor"),
    ],
)
def test_what_makes_no_sense_is_refused(shop: tuple[httpx.Client, Manifest], query: str, parameter: str) -> None:
    client, _ = shop
    document = problem(client.get(f"/v1/kpis/revenue?{query}"), 422, "invalid-request")
    assert [one["parameter"] for one in document["errors"]] == [parameter]


def test_an_unknown_figure_and_a_release_without_any_are_named(
    client: httpx.Client, shop: tuple[httpx.Client, Manifest]
) -> None:
    assert "it has revenue, gross" in problem(shop[0].get("/v1/kpis/profit"), 404, "unknown-kpi")["detail"]
    for place in ("/v1/kpis", "/v1/kpis/revenue"):
        assert "`cartograph run` makes a new one" in problem(client.get(place), 404, "no-kpis")["detail"]


@pytest.mark.parametrize(
    ("spoiled", "why"),
    [
        ({KPIS: b"no arrow"}, f"{KPIS} is not an Arrow file"),
        ({KPI_CUSTOMERS: None}, f"has no {KPI_CUSTOMERS}"),
        (
            {KPI_FILE: b'[{"name": "x", "description": "", "unit": "ratio", "formula": "a / b", "dimensions": []}]'},
            "a / b",
        ),
    ],
)
def test_a_release_whose_figures_are_wrong_is_not_served(
    tmp_path: Path, spoiled: dict[str, bytes | None], why: str
) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=kpi_files(ORDERS) | spoiled)
    with service(settings) as client:
        assert why in problem(client.get("/ready"), 503, "no-release")["detail"]


def test_figures_tie_out_and_a_lost_order_is_told() -> None:
    with duckdb.connect() as con:
        selects = marts(con, ORDERS)
        con.register("sums", kpis.sums(con, selects, AS_OF))
        con.register("counted", kpis.customers(con, selects, AS_OF))
        compared, told = kpis.differing(con, "FROM sums", "FROM counted", selects, AS_OF, 10)
        assert (compared > 2000, told) == (True, [])
        day = ORDERS[1].date
        con.execute(f"CREATE TABLE less AS SELECT * FROM fct_orders WHERE order_id <> 1 AND order_date < '{AS_OF}'")
        con.register("short", kpis.sums(con, selects | {"fct_orders": "FROM less"}, AS_OF))
        _, told = kpis.differing(con, "FROM short", "FROM counted", selects, AS_OF, 10)
        assert any(f"revenue of {day}" in one and "by agg_daily_sales" in one for one in told)
        con.register(
            "unsplit",
            con.execute("SELECT * FROM sums WHERE NOT (dimension = 'country' AND value = 'DE')").to_arrow_table(),
        )
        _, told = kpis.differing(con, "FROM unsplit", "FROM counted", selects, AS_OF, 10)
        assert told
        assert all("by country" in one for one in told), "the sum over countries is not the day's"
        con.execute("CREATE TABLE fewer AS SELECT * FROM counted WHERE previous_date NOTNULL")
        _, told = kpis.differing(con, "FROM sums", "FROM fewer", selects, AS_OF, 10)
        assert all("customers of" in one for one in told)
        assert told
