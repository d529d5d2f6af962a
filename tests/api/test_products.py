"""Features, forecasts and reorder advice over HTTP: of one product, page by page, and where there is none."""

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.products import Product, ProductList
from api.services.cursors import BadCursor, cursor, key_of
from api.services.lookup import open_rows
from api.services.products import features
from cartograph.releases import Manifest
from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.files import DEMAND, DEMAND_CARD, PRODUCTS, REORDER
from cartograph.releases.contents.tables import (
    open_product_features,
    open_products,
    write_product_features,
    write_products,
)
from cartograph.releases.rows import StoredRows
from cartograph.settings import Settings
from tests.api import recommending
from tests.api.making import (
    NO_RECOMMENDER,
    demand_files,
    make_advice,
    make_customers,
    make_forecasts,
    make_products,
    make_reasons,
    problem,
    product_files,
    publish,
    reason_files,
    service,
)
from tests.api.recommending import WITHDRAWN

IDS = [f"P{number:03d}" for number in range(250)]
SOLD = [*(f"P{number:02d}" for number in range(1, recommending.PRODUCTS)), "bygone"]
"""All products of the catalogue but the first, and one that is not in it."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Manifest]]:
    settings = Settings(home=tmp_path_factory.mktemp("products"))
    files = demand_files(make_forecasts([*IDS, "uncounted"]), make_advice(IDS))
    reasons = reason_files(make_reasons(IDS))
    manifest = publish(settings, replaced=files | reasons | product_files(make_products(SOLD)))
    with service(settings) as client:
        yield client, manifest


def test_a_product_has_a_forecast_with_intervals_for_each_day(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    rest = {"low": 0.0, "p25": 1.0, "median": 2.0, "p75": 3.0, "high": 4.5}
    assert client.get("/v1/products/P007/demand").json() == {
        "product_id": "P007",
        "model_version": "5",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
        "days": [{"date": f"2026-01-0{day + 1}", "mean": 7.0 + day, **rest} for day in range(3)],
    }


def test_a_forecast_is_explained(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    found = client.get("/v1/products/P020/explanations/demand").json()
    assert found == {
        "product_id": "P020",
        "units_a_day": pytest.approx(math.exp(2)),
        "explanation": {
            "method": "trees",
            "unit": "log_units",
            "base_value": 0.5,
            "prediction": pytest.approx(2),
            "contributions": [
                {"feature": "seasonal_level", "value": 2.0, "contribution": 1.25},
                {"feature": "level", "value": None, "contribution": 0.25},
            ],
        },
        "model_version": "5",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
    }


def test_what_has_no_forecast_and_what_is_not_explained_is_told(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    problem(client.get("/v1/products/P01/explanations/demand"), 404, "not-on-offer")
    problem(client.get("/v1/products/never/explanations/demand"), 404, "unknown-product")
    told = problem(client.get("/v1/products/uncounted/explanations/demand"), 404, "no-explanation")
    assert "does not explain the forecast of uncounted" in told["detail"]


def test_a_release_of_before_there_were_explanations_is_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=demand_files(make_forecasts(IDS), None))
    with service(settings) as client:
        assert client.get("/v1/products/P020/demand").status_code == 200
        problem(client.get("/v1/products/P020/explanations/demand"), 404, "no-explanation")


def test_a_product_has_reorder_advice(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    assert client.get("/v1/products/P004/reorder").json() == {
        "product_id": "P004",
        "lead_days": 3,
        "review_days": 7,
        "service_level": 0.95,
        "expected_demand": 6.5,
        "reorder_point": 10.0,
        "safety_stock": 3.5,
        "stock": 4.0,
        "order_quantity": 6.0,
        "model_version": "5",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
    }


@pytest.mark.parametrize("limit", [1, 100, 250, 1000])
def test_the_pages_of_advice_hold_each_product_once(shop: tuple[httpx.Client, Manifest], limit: int) -> None:
    client, manifest = shop
    seen, at, pages = [], "", 0
    while at is not None and pages < 3:
        page = client.get("/v1/reorder-advice", params={"limit": limit, "cursor": at}).json()
        assert (page["release_id"], page["model_version"], page["as_of"]) == (manifest.release_id, "5", "2026-01-01")
        seen += [one["product_id"] for one in page["advice"]]
        at, pages = page["next"], pages + 1
    assert seen == IDS[: 3 * limit]
    assert (at is None) == (3 * limit >= len(IDS))


def test_a_page_has_a_hundred_products_and_may_begin_between_two(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    assert len(client.get("/v1/reorder-advice").json()["advice"]) == 100
    page = client.get("/v1/reorder-advice", params={"cursor": cursor("reorder-advice", "P0019"), "limit": 2}).json()
    assert [one["product_id"] for one in page["advice"]] == ["P002", "P003"]
    end = client.get("/v1/reorder-advice", params={"cursor": cursor("reorder-advice", "z")}).json()
    assert (end["advice"], end["next"]) == ([], None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=1_0", "limit=%2010", "cursor=" + "x" * 1001, "cursor=P001"]
)
def test_a_page_that_is_too_large_or_makes_no_sense_is_refused(shop: tuple[httpx.Client, Manifest], query: str) -> None:
    client, _ = shop
    (error,) = problem(client.get(f"/v1/reorder-advice?{query}"), 422, "invalid-request")["errors"]
    assert error["parameter"] == query.split("=", maxsplit=1)[0]


def test_the_pages_of_products_hold_each_once_with_those_off_sale(client: httpx.Client) -> None:
    seen: list[dict[str, object]] = []
    at: str | None = ""
    while at is not None and len(seen) < 2 * recommending.PRODUCTS:
        page = client.get("/v1/products", params={"limit": 25, "cursor": at}).json()
        assert ProductList.model_validate(page, extra="forbid").model_dump(mode="json") == page
        seen, at = [*seen, *page["products"]], page["next"]
    assert [one["product_id"] for one in seen] == [f"P{n:02d}" for n in range(recommending.PRODUCTS)]
    assert [one["product_id"] for one in seen if not one["is_available"]] == [WITHDRAWN]
    assert seen[4]["category"] == "shelf 1"


def test_a_product_off_sale_names_those_like_it(client: httpx.Client) -> None:
    sold = client.get("/v1/products/P07").json()
    assert Product.model_validate(sold, extra="forbid").model_dump(mode="json") == sold
    assert (sold["is_available"], sold["in_its_place"]) == (True, [])
    gone = client.get(f"/v1/products/{WITHDRAWN}").json()
    similar = client.get(f"/v1/products/{WITHDRAWN}/similar?limit=20").json()["similar"]
    assert gone["is_available"] is False
    assert gone["in_its_place"] == [one["product_id"] for one in similar]
    assert gone["in_its_place"]
    problem(client.get("/v1/products/P999"), 404, "unknown-product")


def test_a_product_has_features_whether_it_is_sold_still_or_not(shop: tuple[httpx.Client, Manifest]) -> None:
    client, manifest = shop
    assert client.get("/v1/products/P07").json() == {
        "product_id": "P07",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
        "category": "shelf 1",
        "is_available": True,
        "in_its_place": [],
        "features": {"list_price": 6.5, "units_30d": 6},
    }
    gone = client.get(f"/v1/products/{WITHDRAWN}").json()
    assert Product.model_validate(gone, extra="forbid").model_dump(mode="json") == gone
    assert (gone["is_available"], gone["features"]["units_30d"]) == (False, SOLD.index(WITHDRAWN))
    problem(client.get("/v1/products/P999"), 404, "unknown-product")


def test_features_are_null_where_there_are_none(shop: tuple[httpx.Client, Manifest], client: httpx.Client) -> None:
    """Of what was never sold, in a release of before there were any; and a value that is not known is null."""
    assert shop[0].get("/v1/products/P00").json()["features"] is None
    assert client.get("/v1/products/P07").json()["features"] is None
    assert shop[0].get("/v1/products/P02").json()["features"] == {"list_price": None, "units_30d": 1}


def test_features_of_an_earlier_date_than_the_release_say_so(tmp_path: Path) -> None:
    settings, before = Settings(home=tmp_path), date(2025, 12, 1)
    table = make_products(["P01"])
    publish(settings, replaced=product_files(table.set_column(1, "as_of", pa.array([before], pa.date32()))))
    with service(settings) as client:
        found = [client.get(f"/v1/products/{product}").json()["as_of"] for product in ("P01", "P02")]
    assert found == ["2025-12-01", "2026-01-01"]


def test_of_a_product_outside_the_catalogue_it_is_sold_where_it_has_a_forecast(
    shop: tuple[httpx.Client, Manifest],
) -> None:
    client, _ = shop
    bygone, forecast = (client.get(f"/v1/products/{product}").json() for product in ("bygone", "P001"))
    for found in (bygone, forecast):
        assert Product.model_validate(found, extra="forbid").model_dump(mode="json") == found
        assert (found["category"], found["in_its_place"]) == (None, [])
    assert (bygone["is_available"], bygone["features"]["units_30d"]) == (None, SOLD.index("bygone"))
    assert (forecast["is_available"], forecast["features"]) == (True, None)
    assert "no forecast for bygone" in problem(client.get("/v1/products/bygone/demand"), 404, "not-on-offer")["detail"]


@given(st.sets(st.text(max_size=4), max_size=30), st.text(max_size=4))
def test_exactly_the_products_in_the_file_have_features(ids: set[str], other: str) -> None:
    table = make_products(list(ids))
    with TemporaryDirectory() as folder:
        path = Path(folder) / PRODUCTS
        write_product_features(path, table)
        rows = open_rows(path, open_product_features(path), "product_id")
    assert isinstance(rows, StoredRows), "else each of ten million rows that is asked for stays in memory"
    for row in table.drop_columns("as_of").to_pylist():
        assert features(rows, row.pop("product_id")) == {"as_of": "2026-01-01", "features": row}
    assert (features(rows, other) != {"features": None}) == (other in ids)
    assert features(None, other) == {"features": None}


def test_a_release_without_a_recommender_has_no_catalogue(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=NO_RECOMMENDER)
    with service(settings) as client:
        for place in ("/v1/products", "/v1/products/P07"):
            assert "comes with the recommender" in problem(client.get(place), 404, "no-model")["detail"]


def test_without_a_recommender_the_products_are_known_that_have_a_forecast_or_features(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    files = demand_files(make_forecasts(["P1", "P2"]), make_advice(["P1"])) | product_files(make_products(["P1", "P3"]))
    publish(settings, customers=make_customers(["C1"]), replaced=NO_RECOMMENDER | files)
    with service(settings) as client:
        found = client.get("/v1/products/P2").json()
        assert Product.model_validate(found, extra="forbid").model_dump(mode="json") == found
        assert (found["is_available"], found["category"], found["in_its_place"]) == (True, None, [])
        known = {product: client.get(f"/v1/products/{product}").json() for product in ("P1", "P3")}
        assert {product: one["is_available"] for product, one in known.items()} == {"P1": True, "P3": None}
        assert known["P3"]["features"] == {"list_price": None, "units_30d": 1}
        assert "stock is not counted" in problem(client.get("/v1/products/P2/reorder"), 404, "not-on-offer")["detail"]
        told = problem(client.get("/v1/products/P9/demand"), 404, "unknown-product")["detail"]
        assert "no catalogue of products" in told
        assert "no catalogue of products" in problem(client.get("/v1/products/P9"), 404, "no-model")["detail"]
        pages = [client.get("/v1/products", params={"limit": 2}).json()]
        pages.append(client.get("/v1/products", params={"limit": 2, "cursor": pages[0]["next"]}).json())
        listed = [product for page in pages for product in ProductList.model_validate(page).products]
        assert [(one.product_id, one.is_available) for one in listed] == [("P1", True), ("P2", True), ("P3", None)]
        assert pages[1]["next"] is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.text(max_size=12))
def test_a_cursor_is_its_key_or_refused(key: str, other: str) -> None:
    assert list(key_of(cursor("list", key, "b"), "list", 2)) == [key, "b"]
    assert list(key_of("", "list", 2)) == ["", ""]
    for wrong in (cursor("list", key), cursor("other list", key, "b")):
        with pytest.raises(BadCursor, match="take `next` of the page before"):
            key_of(wrong, "list", 2)
    with suppress(BadCursor):
        assert len(key_of(other, "list", 1)) == 1


def test_a_known_product_without_a_forecast_is_not_called_unknown(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    for place in ("demand", "reorder"):
        problem(client.get(f"/v1/products/{WITHDRAWN}/{place}"), 404, "not-on-offer")


def test_an_unknown_product_is_named(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    for place, what in (("demand", "no forecast for P9"), ("reorder", "no reorder advice for P9")):
        assert what in problem(client.get(f"/v1/products/P9/{place}"), 404, "unknown-product")["detail"]
    document = problem(client.get("/v1/products/uncounted/reorder"), 404, "not-on-offer")
    assert "its stock is not counted" in document["detail"]
    assert client.get("/v1/products/uncounted/demand").status_code == 200


def test_the_release_lists_the_model_and_its_metrics(shop: tuple[httpx.Client, Manifest]) -> None:
    client, _ = shop
    cards = {card["name"]: card["version"] for card in client.get("/v1/release").json()["models"]}
    assert cards["demand_forecaster"] == "5"


def test_a_release_without_a_demand_model_is_served_and_says_so(client: httpx.Client) -> None:
    for place in ("/v1/products/P1/demand", "/v1/products/P1/reorder", "/v1/reorder-advice"):
        assert "has_enough_data of models/demand_forecaster" in problem(client.get(place), 404, "no-model")["detail"]


def test_a_shop_that_counts_no_stock_has_forecasts_and_no_advice(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=demand_files(make_forecasts(["P1"]), None))
    with service(settings) as client:
        assert len(client.get("/v1/products/P1/demand").json()["days"]) == 3
        for place in ("/v1/products/P1/reorder", "/v1/reorder-advice"):
            assert "no dataset `inventory`" in problem(client.get(place), 404, "no-stock")["detail"]


@pytest.mark.parametrize(
    ("spoiled", "why"),
    [
        ({DEMAND_CARD: None}, f"has no {DEMAND_CARD}"),
        ({DEMAND: None}, f"has no {DEMAND}"),
        ({DEMAND: b"no arrow"}, f"{DEMAND} is not an Arrow file"),
        ({REORDER: b""}, f"{REORDER} is not an Arrow file"),
        ({PRODUCTS: b"no arrow"}, f"{PRODUCTS} is not an Arrow file"),
    ],
)
def test_a_release_whose_files_about_products_are_wrong_is_not_served(
    tmp_path: Path, spoiled: dict[str, bytes | None], why: str
) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, replaced=demand_files(make_forecasts(["P1"]), make_advice(["P1"])) | spoiled)
    with service(settings) as client:
        assert why in problem(client.get("/ready"), 503, "no-release")["detail"]


def test_files_about_products_are_sorted_and_of_the_agreed_form(tmp_path: Path) -> None:
    table = make_forecasts(["b", "a"])
    write_products(tmp_path, DEMAND, table)
    assert open_products(tmp_path, DEMAND)["product_id"].to_pylist() == ["a"] * 3 + ["b"] * 3
    for bad, why in (
        (table.drop_columns("low"), "must have the columns product_id string"),
        (pa.concat_tables([table, table]), "sorted by product_id and date, each once"),
        (table.set_column(3, "mean", pa.array([None] * 6, pa.float64())), "no nulls"),
    ):
        with pytest.raises(ContentError, match=why):
            write_products(tmp_path, DEMAND, bad)


def test_the_file_of_features_is_sorted_and_of_the_agreed_form(tmp_path: Path) -> None:
    path, table = tmp_path / PRODUCTS, make_products(["b", "a"])
    write_product_features(path, table)
    assert open_product_features(path).to_pylist() == table.to_pylist()[::-1]
    for bad, why in (
        (table.drop_columns("as_of"), f"{PRODUCTS} needs a column as_of"),
        (make_products(["a", "a"]), f"{PRODUCTS} must be sorted by product_id, each product once"),
        (table.set_column(1, "as_of", pa.array([None, None], pa.date32())), "as_of must not be null"),
    ):
        with pytest.raises(ContentError, match=why):
            write_product_features(path, bad)
