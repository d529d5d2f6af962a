"""What is recommended over HTTP is what batch prediction wrote, and what the core says of a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import settings as checking
from hypothesis import strategies as st

from api.schemas.recommendations import CustomerRecommendations, SimilarProducts
from cartograph.releases import Manifest
from cartograph.releases.contents.files import RECOMMENDATIONS, RECOMMENDER, RECOMMENDER_CARD, SIMILAR
from cartograph.settings import Settings
from tests.api.making import NO_RECOMMENDER, demand_files, make_customers, make_forecasts, problem, publish, service
from tests.api.recommending import NEWCOMER, PRODUCTS, WITHDRAWN, batch

SESSION = "/v1/recommendations/session"


def rows(table: pa.Table, **wanted: str) -> list[dict[str, Any]]:
    """The rows of a batch prediction, as the API lists them."""
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    kept = ("rank", "product_id", "score", "source", "because_product_id")
    if "similar_product_id" in table.column_names:
        table = table.drop_columns("product_id").rename_columns({"similar_product_id": "product_id"})
    return [{name: row[name] for name in kept if name in row} for row in table.to_pylist()]


def made_by(manifest: Manifest) -> dict[str, str]:
    return {"model_version": "5", "release_id": manifest.release_id, "as_of": "2026-01-01"}


@pytest.mark.parametrize("customer", ["C0000", "C0001", "C0500", "C0998", NEWCOMER])
def test_a_customer_gets_what_batch_prediction_wrote(client: httpx.Client, manifest: Manifest, customer: str) -> None:
    answer = client.get(f"/v1/customers/{customer}/recommendations", params={"limit": 20}).json()
    expected = rows(batch().recommendations, customer_id=customer)
    assert len(expected) == 20
    assert answer == {**made_by(manifest), "customer_id": customer, "recommendations": expected}
    assert CustomerRecommendations.model_validate(answer, extra="forbid").model_dump(mode="json") == answer
    assert client.get(f"/v1/customers/{customer}/recommendations?limit=3").json()["recommendations"] == expected[:3]
    assert len(client.get(f"/v1/customers/{customer}/recommendations").json()["recommendations"]) == 10


def test_who_has_bought_nothing_gets_what_a_stranger_gets(client: httpx.Client) -> None:
    known = client.get(f"/v1/customers/{NEWCOMER}/recommendations").json()["recommendations"]
    assert {one["source"] for one in known} == {"popularity"}
    assert {one["because_product_id"] for one in known} == {None}
    assert client.post(SESSION, json={"products": []}).json()["recommendations"] == known


@pytest.mark.parametrize("product", ["P00", "P07", "P58", WITHDRAWN])
def test_a_product_has_what_batch_prediction_wrote(client: httpx.Client, manifest: Manifest, product: str) -> None:
    answer = client.get(f"/v1/products/{product}/similar?limit=20").json()
    similar = rows(batch().similar, product_id=product, relation="similar")
    together = rows(batch().similar, product_id=product, relation="bought_together")
    for row in together:
        assert row.pop("source") == "basket"
    similar = [{name: value for name, value in row.items() if name != "because_product_id"} for row in similar]
    about = {"product_id": product, "is_available": product != WITHDRAWN}
    assert answer == {**made_by(manifest), **about, "similar": similar, "bought_together": together}
    assert SimilarProducts.model_validate(answer, extra="forbid").model_dump(mode="json") == answer
    assert len(similar) == 20
    assert product not in {row["product_id"] for row in similar}


def test_those_often_in_one_order_are_on_sale_and_by_cosine(client: httpx.Client) -> None:
    together = client.get("/v1/products/P00/similar").json()["bought_together"]
    assert together == [
        {"rank": 1, "product_id": "P01", "score": 0.2},
        {"rank": 2, "product_id": "P02", "score": 0.1125},
    ]


@checking(max_examples=40)
@given(st.lists(st.integers(0, PRODUCTS - 1), max_size=30), st.integers(1, 20))
def test_a_session_gets_what_the_core_says(
    client: httpx.Client, manifest: Manifest, seen: list[int], limit: int
) -> None:
    products = [f"P{n:02d}" for n in seen]
    answer = client.post(SESSION, json={"products": products, "limit": limit}).json()
    expected = batch().model.session(products, limit)
    assert answer.pop("recommendations") == [{"rank": at, **one._asdict()} for at, one in enumerate(expected, 1)]
    assert answer == {**made_by(manifest), "unknown_products": []}
    assert {one.product_id for one in expected}.isdisjoint({*products, WITHDRAWN})


def test_the_latest_of_a_session_says_most(client: httpx.Client) -> None:
    first = [
        client.post(SESSION, json={"products": seen}).json()["recommendations"][0]["because_product_id"]
        for seen in (["P00", *["P01"] * 4], ["P01", *["P00"] * 4])
    ]
    assert first == ["P01", "P00"]


def test_an_unknown_customer_gets_what_is_popular_where_that_is_asked_for(client: httpx.Client) -> None:
    answer = client.get("/v1/customers/nobody/recommendations?fallback=popular&limit=7").json()
    stranger = client.post(SESSION, json={"products": [], "limit": 7}).json()
    assert answer | {"unknown_products": []} == stranger | {"customer_id": "nobody"}
    assert {one["source"] for one in answer["recommendations"]} == {"popularity"}
    known = "/v1/customers/C0000/recommendations"
    assert client.get(f"{known}?fallback=popular").json() == client.get(known).json()
    refused = problem(client.get(f"{known}?fallback=random"), 422, "invalid-request")
    assert refused["errors"][0]["parameter"] == "fallback"


def test_nothing_off_sale_is_recommended_to_anybody(client: httpx.Client) -> None:
    for n in range(0, 1000, 50):
        listed = client.get(f"/v1/customers/C{n:04d}/recommendations?limit=20").json()["recommendations"]
        assert WITHDRAWN not in {one["product_id"] for one in listed}
    for n in range(PRODUCTS):
        answer = client.get(f"/v1/products/P{n:02d}/similar?limit=20").json()
        listed = [*answer["similar"], *answer["bought_together"]]
        assert WITHDRAWN not in {one["product_id"] for one in listed}


@pytest.mark.parametrize("place", ["customers/C1000/recommendations", "customers/%00/recommendations"])
def test_an_unknown_customer_is_named(client: httpx.Client, place: str) -> None:
    assert "has no customer" in problem(client.get(f"/v1/{place}"), 404, "unknown-customer")["detail"]


def test_an_unknown_product_is_named(client: httpx.Client) -> None:
    assert "has no product p00." in problem(client.get("/v1/products/p00/similar"), 404, "unknown-product")["detail"]


@pytest.mark.parametrize("place", [SESSION, "/v1/recommendations/basket"])
def test_products_that_are_new_in_the_shop_are_passed_over(client: httpx.Client, place: str) -> None:
    whole = client.post(place, json={"products": ["P00", "x", "P01", "y"]}).raise_for_status().json()
    assert whole.pop("unknown_products") == ["x", "y"]
    known = client.post(place, json={"products": ["P00", "P01"]}).raise_for_status().json()
    assert known.pop("unknown_products") == []
    assert whole == known
    strange = client.post(place, json={"products": ["x"]}).raise_for_status().json()
    assert strange["recommendations"], "as to a stranger"


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/customers/C0000/recommendations?limit=0", "limit"),
        ("/v1/customers/C0000/recommendations?limit=21", "limit"),
        ("/v1/products/P00/similar?limit=many", "limit"),
        (f"/v1/products/{'x' * 129}/similar", "product_id"),
    ],
)
def test_what_is_out_of_bounds_is_refused(client: httpx.Client, path: str, parameter: str) -> None:
    document = problem(client.get(path), 422, "invalid-request")
    assert [part["parameter"] for part in document["errors"]] == [parameter]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"visitor_id": ""}, "/visitor_id"),
        ({"products": ["P00"] * 101}, "/products"),
        ({"products": [7]}, "/products/0"),
        ({"products": [""]}, "/products/0"),
        ({"products": ["x" * 129]}, "/products/0"),
        ({"products": ["\ud800"]}, "/products/0"),
        ({"products": [], "limit": 21}, "/limit"),
        ({"products": [], "limit": "5"}, "/limit"),
        ({"products": [], "customer_id": "C0000"}, "/customer_id"),
    ],
)
def test_a_session_that_is_none_is_refused(client: httpx.Client, body: Any, pointer: str) -> None:
    sent = client.post(SESSION, content=json.dumps(body), headers={"content-type": "application/json"})
    assert [part["pointer"] for part in problem(sent, 422, "invalid-request")["errors"]] == [pointer]


def test_the_release_lists_the_recommender(client: httpx.Client) -> None:
    model = client.get("/v1/release").json()["models"][-1]
    assert (model["name"], model["version"], model["features"]) == ("product_recommender", "5", [])


def test_a_shop_too_young_for_a_recommender_is_served_without_one(tmp_path: Path) -> None:
    young = Settings(home=tmp_path)
    publish(young, customers=make_customers(["C1"]), replaced=NO_RECOMMENDER)
    with service(young) as client:
        for response in (
            client.get("/v1/customers/C1/recommendations"),
            client.get("/v1/products/P00/similar"),
            client.post(SESSION, json={"products": []}),
        ):
            assert "has_enough_data of models/product_recommender" in problem(response, 404, "no-model")["detail"]
        assert "product_recommender" not in [model["name"] for model in client.get("/v1/release").json()["models"]]
        assert client.get("/v1/customers/C1").status_code == 200
        nothing = client.get("/v1/customers/C1/recommendations?fallback=popular")
        assert "nor a demand forecast" in problem(nothing, 404, "no-model")["detail"]


def test_without_a_recommender_popular_is_what_is_expected_to_sell_most(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    files = demand_files(make_forecasts(["P1", "P2", "P3"]), None)
    publish(settings, customers=make_customers(["C1"]), replaced=NO_RECOMMENDER | files)
    with service(settings) as client:
        for customer in ("C1", "nobody"):
            place = f"/v1/customers/{customer}/recommendations"
            problem(client.get(place), 404, "no-model")
            answer = client.get(place, params={"fallback": "popular", "limit": 2}).json()
            assert CustomerRecommendations.model_validate(answer, extra="forbid").model_dump(mode="json") == answer
            assert answer["model_version"] == "5"
            listed = [(one["product_id"], one["score"], one["source"]) for one in answer["recommendations"]]
            assert listed == [("P3", 9.0, "popularity"), ("P2", 6.0, "popularity")]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (RECOMMENDER, None, "has no models/product_recommender.arrow"),
        (SIMILAR, None, "has no similar_products.arrow"),
        (RECOMMENDER, b"no Arrow", "models/product_recommender.arrow cannot be used"),
        (RECOMMENDER, batch().files[SIMILAR], "it is not the file of a recommender"),
        (RECOMMENDER_CARD, b"{}", "models/product_recommender.json cannot be used"),
        (RECOMMENDATIONS, b"no Arrow", "recommendations.arrow is not an Arrow file"),
        (RECOMMENDATIONS, batch().files[SIMILAR], "recommendations.arrow must have the columns"),
    ],
)
def test_a_release_whose_recommender_is_damaged_is_not_served(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    damaged = Settings(home=tmp_path)
    publish(damaged, replaced={name: content})
    with service(damaged) as client:
        assert why in problem(client.get("/ready"), 503, "no-release")["detail"]
