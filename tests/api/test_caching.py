"""Conditional requests, HEAD and compression: who has an answer already is not sent it again."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import CachedRoute
from api.main import create_app
from api.services.caching import is_held, tag
from cartograph.settings import Settings
from tests.api.making import make_customers, problem, publish, service

PLACES = (
    "/v1/customers/C0001",
    "/v1/customers/C0001/recommendations",
    "/v1/products/P07",
    "/v1/products/P07/similar",
    "/v1/release",
    "/v1/models",
    "/v1/models/churn_classifier/card",
    "/v1/causal/effects",
    "/v1/experiments",
)


@pytest.mark.parametrize("place", PLACES)
def test_who_holds_the_answer_is_told_so_without_it(client: httpx.Client, place: str) -> None:
    first = client.get(place).raise_for_status()
    assert first.headers["cache-control"] == "private, no-cache"
    again = client.get(place, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["x-content-type-options"] == "nosniff"
    assert client.get(place, headers={"If-None-Match": '"other"'}).content == first.content


def test_what_has_a_tag_is_documented_with_it_and_nothing_else_is(client: httpx.Client) -> None:
    told = {
        (method.upper(), path): operation["responses"]
        for path, operations in client.get("/openapi.json").json()["paths"].items()
        for method, operation in operations.items()
    }
    routes = [route for route in create_app(Settings()).routes if isinstance(route, CachedRoute)]
    tagged = {("GET", route.path) for route in routes if route.methods == {"GET"}}
    assert {("GET", path) for path in ("/v1/release", "/v1/customers/{customer_id}")} <= tagged
    assert {place for place, answers in told.items() if "304" in answers} == tagged
    for place in tagged:
        assert "content" not in told[place]["304"]
        assert [told[place][status]["headers"]["ETag"]["required"] for status in ("200", "304")] == [True, True]


def test_an_answer_of_another_release_has_another_tag(tmp_path: Path) -> None:
    tags = []
    for probability in (0.25, 0.5):
        settings = Settings(home=tmp_path / str(probability))
        publish(settings, customers=make_customers(["C1", "C2"], probability))
        with service(settings) as client:
            tags += [client.get(f"/v1/customers/{one}").headers["etag"] for one in ("C1", "C2")]
    assert len(set(tags)) == 4


@pytest.mark.parametrize("held", ["*", 'W/"anything"'])
def test_a_tag_opens_nothing_that_is_not_there(client: httpx.Client, held: str) -> None:
    answer = client.get("/v1/customers/nobody", headers={"If-None-Match": held})
    problem(answer, 404, "unknown-customer")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


def test_what_is_computed_from_a_body_is_not_to_be_kept(client: httpx.Client) -> None:
    answer = client.post("/v1/recommendations/session", json={"products": []}).raise_for_status()
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


@pytest.mark.parametrize("place", [*PLACES, "/health", "/ready", "/openapi.json"])
def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client, place: str) -> None:
    got, headed = client.get(place), client.head(place)
    assert headed.status_code == 200
    assert headed.content == b""
    dropped = {"date", "x-request-id"}
    kept = [{k: v for k, v in answer.headers.items() if k not in dropped} for answer in (got, headed)]
    assert kept[0] == kept[1]


def test_head_is_counted_by_its_route(client: httpx.Client) -> None:
    client.head("/v1/release").raise_for_status()
    assert 'cartograph_requests_total{method="HEAD",route="/v1/release",status="200"}' in client.get("/metrics").text


@pytest.mark.parametrize(("accepted", "coding"), [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None)])
def test_an_answer_is_compressed_for_whom_takes_that(client: httpx.Client, accepted: str, coding: str | None) -> None:
    answer = client.get("/openapi.json", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == coding


def test_head_is_no_way_to_post(client: httpx.Client) -> None:
    assert client.head("/v1/predict/churn").status_code in {404, 405}
    assert client.head("/v1/customers/nobody").status_code == 404


def test_a_long_answer_is_compressed_where_that_is_understood(client: httpx.Client) -> None:
    place = "/v1/release"
    plain = client.get(place, headers={"Accept-Encoding": "identity"})
    small = client.get(place, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) < len(plain.content) / 2
    assert small.content == plain.content
    assert small.headers["etag"] == plain.headers["etag"]
    assert small.headers["vary"] == "Accept-Encoding"


@given(st.binary(max_size=20), st.binary(max_size=20), st.lists(st.sampled_from(['"a"', 'W/"b"', ""]), max_size=3))
def test_a_tag_is_of_the_content(body: bytes, other: bytes, held: list[str]) -> None:
    assert (tag(body) == tag(other)) == (body == other)
    assert is_held(tag(body), ", ".join([*held, tag(body)]))
    assert is_held(tag(body), tag(body).removeprefix("W/"))
    assert is_held(tag(body), "*")
    assert not is_held(tag(body), ", ".join([*held, '"c"']))
