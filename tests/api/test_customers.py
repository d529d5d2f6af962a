import os
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.customers import Customer, CustomerList
from api.services.customers import Customers
from api.services.lookup import TableRows, open_rows
from cartograph.releases import Manifest
from cartograph.releases.contents.base import ContentError
from cartograph.releases.contents.tables import open_customers, write_customers, write_lists
from cartograph.releases.rows import StoredRows
from cartograph.settings import Settings
from tests.api.making import make_customers, problem, publish, service

PREDICTIONS = ("behaviour", "churn", "purchase", "lifetime_value", "next_best_action")


def test_a_customer_has_features_segments_and_predictions(client: httpx.Client, manifest: Manifest) -> None:
    made_by = {"model_version": "3", "release_id": manifest.release_id, "as_of": "2026-01-01"}
    assert client.get("/v1/customers/C0041").json() == {
        "customer_id": "C0041",
        "release_id": manifest.release_id,
        "as_of": "2026-01-01",
        "segment": "champions",
        "behaviour": {"number": 2, "name": "with coupons"} | made_by,
        "churn": {"probability": 0.25} | made_by,
        "purchase": {"probability": 0.25} | made_by,
        "lifetime_value": {
            "amount": -1.5,
            "expected_orders": 0.25,
            "expected_revenue": 0.25,
            "alive_probability": 0.25,
        }
        | made_by,
        "next_best_action": {
            "action": "email_spring",
            "reason": "adds_most",
            "added_margin": 2.5,
            "low": -0.5,
            "high": 5.5,
        }
        | made_by,
        "predictions": {},
        "features": {"recency_days": 41, "mean_gap_days": None, "is_opted_in": False},
        "masked": [],
    }


def test_the_answer_has_the_documented_form(client: httpx.Client) -> None:
    answer = client.get("/v1/customers/C0041").json()
    assert Customer.model_validate(answer, extra="forbid").model_dump(mode="json") == answer


@pytest.mark.parametrize("place", ["/v1/customers/{}", "/v1/customers/{}/recommendations"])
@pytest.mark.parametrize(
    "customer_id", ["C0041", "C0999", "C0000", "C1000", "%C3%A9", "C0041%2F", "x" * 128, "x" * 129, ""]
)
def test_the_short_way_answers_as_the_documented_route_does(client: httpx.Client, place: str, customer_id: str) -> None:
    path = place.format(customer_id)
    short, long = client.get(path), client.get(path, headers={"If-None-Match": '"another"'})
    assert (short.status_code, short.content) == (long.status_code, long.content)
    for name in ("content-type", "etag", "cache-control", "content-length", "x-content-type-options"):
        assert short.headers.get(name) == long.headers.get(name), name


def test_each_customer_is_found(client: httpx.Client) -> None:
    for number in (0, 1, 499, 500, 998, 999):
        customer = client.get(f"/v1/customers/C{number:04d}").json()
        assert customer["features"]["recency_days"] == number


def test_the_pages_of_customers_hold_each_once(client: httpx.Client) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None and len(seen) < 2000:
        page = client.get("/v1/customers", params={"limit": 300, "cursor": cursor}).json()
        assert CustomerList.model_validate(page, extra="forbid").model_dump(mode="json") == page
        seen, cursor = [*seen, *page["customer_ids"]], page["next"]
    assert seen == [f"C{n:04d}" for n in range(1000)]
    assert len(client.get("/v1/customers").json()["customer_ids"]) == 100
    refused = problem(client.get("/v1/customers?cursor=C0001"), 422, "invalid-request")
    assert refused["errors"][0]["parameter"] == "cursor"


@pytest.mark.parametrize("customer_id", ["C", "C00410", "c0041", "Ω", "..", "%00", "' OR 1=1 --", "C0041%20"])
def test_an_unknown_customer_is_named(client: httpx.Client, customer_id: str) -> None:
    response = client.get(f"/v1/customers/{customer_id.replace(' ', '%20')}")
    if customer_id == "..":  # the client itself resolves it, to the folder above
        problem(response, 404)
    else:
        assert "has no customer" in problem(response, 404, "unknown-customer")["detail"]


def test_an_id_that_is_too_long_is_refused(client: httpx.Client) -> None:
    document = problem(client.get("/v1/customers/" + "x" * 129), 422, "invalid-request")
    assert document["errors"] == [{"detail": "String should have at most 128 characters", "parameter": "customer_id"}]


def test_a_customer_without_predictions_has_none(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, customers=make_customers(["only"], probability=None))
    with service(settings) as client:
        found = client.get("/v1/customers/only").json()
        assert [found[name] for name in PREDICTIONS] == [None] * len(PREDICTIONS)


def test_a_release_made_before_a_prediction_was_known_is_served_without_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    customers = make_customers(["only"])
    then = [
        "segment_number", "behaviour_segment", "segments_model_version", "alive_probability", "expected_orders_365d",
        "expected_revenue_365d", "lifetime_value_amount", "clv_model_version", "next_action", "next_action_reason",
        "added_margin_amount", "added_margin_low", "added_margin_high", "uplift_model_version",
    ]  # fmt: skip
    path = tmp_path / "customers.arrow"
    fewer = customers.drop_columns(then)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, fewer.schema) as writer:
        writer.write_table(fewer)
    publish(settings, replaced={"customers.arrow": path.read_bytes()})
    with service(settings) as client:
        found = client.get("/v1/customers/only").json()
        assert [found[name] for name in ("behaviour", "lifetime_value", "next_best_action")] == [None] * 3
        assert found["churn"]["probability"] == 0.25
        assert set(found["features"]) == {"recency_days", "mean_gap_days", "is_opted_in"}


def test_a_shop_without_customers_is_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, customers=make_customers([]))
    with service(settings) as client:
        problem(client.get("/v1/customers/C1"), 404, "unknown-customer")


@given(st.sets(st.text(max_size=4), max_size=30), st.text(max_size=4), st.integers(1, 7))
def test_exactly_those_in_the_table_are_found(ids: set[str], other: str, chunk: int) -> None:
    table = make_customers(list(ids)).sort_by("customer_id")
    chunked = pa.Table.from_batches(table.to_batches(max_chunksize=chunk), table.schema)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "customers.arrow"
        write_customers(path, chunked)
        rows = open_rows(path, open_customers(path), "customer_id")
        assert isinstance(rows, StoredRows)
    of_before = TableRows(chunked, "customer_id")
    for customers in map(Customers, (rows, of_before)):
        assert len(customers) == len(ids)
        for customer_id in ids:
            found = customers.find(customer_id)
            assert found is not None
            assert found.customer_id == customer_id
        assert (customers.find(other) is not None) == (other in ids)
        assert customers.after(other, chunk) == [one for one in sorted(ids) if one > other][:chunk]
    assert all(rows.find(one) == of_before.find(one) for one in ids)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 70_000])
def test_rows_are_found_at_the_edges_of_steps_and_batches(tmp_path: Path, count: int) -> None:
    ids = [f"{2 * n:06d}" for n in range(count)]
    path = tmp_path / "lists.arrow"
    columns = {"id": pa.string(), "values": pa.list_(pa.float64())}
    values = [[at / 4] if at % 3 else [] for at in range(count)]
    write_lists(path, pa.table({"id": ids, "values": values}, schema=pa.schema(list(columns.items()))), columns)
    rows = StoredRows(path, "id")
    path.unlink()  # a release that is pruned is served to the end
    assert len(rows) == count
    for at in {*range(min(count, 130)), *range(max(count - 70, 0), count), *range(65_530, min(65_540, count))}:
        assert rows.find(ids[at]) == {"id": ids[at], "values": values[at]}
        assert rows.find(f"{2 * at + 1:06d}") is None
        assert rows.after(ids[at], 3) == ids[at + 1 : at + 4]
    assert rows.after("", count + 1) == ids
    assert rows.find("") is None
    assert rows.find("\ud800") is None


def test_a_file_that_is_cut_short_while_it_is_served_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    """What is mapped into memory and cut short ends the process by a signal, with all requests that are in flight."""
    path = tmp_path / "customers.arrow"
    write_customers(path, make_customers([f"C{n:06d}" for n in range(70_000)]))
    rows = StoredRows(path, "customer_id")
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 100)
    for ask in (lambda: rows.find("C069999"), lambda: rows.after("C069990", 3)):
        with pytest.raises(OSError, match="has become shorter while it is served"):
            ask()


@given(st.sets(st.text(max_size=4), max_size=30))
def test_the_file_of_customers_is_sorted_and_whole(ids: set[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "customers.arrow"
        write_customers(path, make_customers(list(ids)))
        assert open_customers(path)["customer_id"].to_pylist() == sorted(ids)


def test_a_table_that_is_not_as_agreed_is_refused(tmp_path: Path) -> None:
    good = make_customers(["a", "b"])
    path = tmp_path / "customers.arrow"
    for bad, why in (
        (good.drop_columns("segment"), "needs a column segment"),
        (good.drop_columns("customer_id"), "needs a column customer_id"),
        (good.set_column(3, "churn_probability", pa.array(["0.1", "0.2"])), "churn_probability must be double"),
        (make_customers(["a", "a"]), "each customer once"),
        (good.set_column(0, "customer_id", pa.array(["a", None])), "must not be null"),
    ):
        with pytest.raises(ContentError, match=why):
            write_customers(path, bad)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, good.schema) as writer:
        writer.write_table(make_customers(["b", "a"]))
    with pytest.raises(ContentError, match="must be sorted"):
        open_customers(path)
