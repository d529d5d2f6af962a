"""What Prometheus reads of the service, from one process and from several."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from api.guard import MAX_BODY_BYTES
from api.observability.metrics import SCORES, SCORES_UP_TO, SHARED, Served, exposition, observe_scores, shared
from api.services.refusals import Refusals
from api.services.serving import State
from cartograph.events import segments
from cartograph.keys import KeyStore
from cartograph.releases import Manifest, open_store
from cartograph.releases.contents.files import SHOP
from cartograph.settings import Settings
from tests.api.making import publish, service
from tests.unit.events.making import make_event

TOTAL = "cartograph_requests_total"
FEATURES = {"recency_days": 300, "mean_gap_days": 30.5, "is_opted_in": True}
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def scraped(client: httpx.Client) -> Samples:
    answer = client.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return samples(answer.text)


def test_requests_are_counted_and_timed_by_route_and_never_by_what_they_ask_for(client: httpx.Client) -> None:
    before = scraped(client)
    client.get("/v1/customers/C0001")
    client.get("/v1/customers/C0002")
    client.get("/v1/customers/nobody-of-this-name")
    client.get("/wp-admin/setup.php")
    client.request("PROPFIND", "/v1/release")
    answer = client.get("/metrics")
    after = samples(answer.text)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    customer = {"method": "GET", "route": "/v1/customers/{customer_id}"}
    assert more("cartograph_requests_total", **customer, status="200") == 2
    assert more("cartograph_requests_total", **customer, status="404") == 1
    assert more("cartograph_request_duration_seconds_count", **customer) == 3
    assert more("cartograph_request_duration_seconds_sum", **customer) > 0
    assert more("cartograph_requests_total", method="GET", route="unmatched", status="404") == 1
    assert more("cartograph_requests_total", method="other", route="/v1/release", status="405") == 1
    for told in ("C0001", "nobody-of-this-name", "wp-admin", "PROPFIND"):
        assert told not in answer.text


def test_a_request_that_is_refused_before_its_route_is_told_by_the_route_that_it_asked_for(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production", api_allowed_hosts="api.example.com")
    publish(settings)
    store, now = KeyStore(settings.keys_path), datetime.now(UTC)
    reader, caller, slow = (
        {"X-API-Key": store.create(name, scopes, now=now, days=1, rate=rate)[1]}
        for name, scopes, rate in (
            ("reader", {"read"}, None),
            ("caller", {"predict"}, None),
            ("slow", {"predict"}, "1/hour"),
        )
    )
    with service(settings) as client:
        client.headers["Host"] = "api.example.com"
        before = samples(client.get("/metrics", headers=reader).text)
        client.get("/v1/customers/C1")
        client.head("/v1/customers/C1")
        client.get("/v1/nothing-of-this-name")
        client.get("/v1/release", headers={**reader, "Host": "elsewhere.example"})
        client.post("/v1/admin/releases/2026/activate", headers=reader)
        client.post("/v1/orders/O1/outcomes", content=b"x" * (MAX_BODY_BYTES + 1), headers=caller)
        client.post("/v1/predict/churn", content=b"a=1", headers=caller)
        client.post("/v1/recommendations/basket", headers=slow)
        client.post("/v1/recommendations/basket", headers=slow)
        after = samples(client.get("/metrics", headers=reader).text)

    def more(method: str, route: str, status: int) -> float:
        labels = {"method": method, "route": route, "status": str(status)}
        return value(after, TOTAL, **labels) - value(before, TOTAL, **labels)

    assert more("GET", "/v1/customers/{customer_id}", 401) == 1
    assert more("HEAD", "/v1/customers/{customer_id}", 401) == 1
    assert more("GET", "unmatched", 401) == 1
    assert more("GET", "/v1/release", 421) == 1
    assert more("POST", "/v1/admin/releases/{release_id}/activate", 403) == 1
    assert more("POST", "/v1/orders/{order_id}/outcomes", 413) == 1
    assert more("POST", "/v1/predict/churn", 415) == 1
    assert more("POST", "/v1/recommendations/basket", 429) == 1


def test_the_release_that_is_served_and_its_age_are_told(client: httpx.Client, manifest: Manifest) -> None:
    found = scraped(client)
    assert value(found, "cartograph_ready") == 1
    assert value(found, "cartograph_release_problem") == 0
    assert value(found, "cartograph_release_info", release_id=manifest.release_id, as_of="2026-01-01") == 1
    assert value(found, "cartograph_release_age_seconds") > 0


def test_the_age_is_that_at_the_moment_of_asking() -> None:
    class Release:
        class manifest:  # noqa: N801
            release_id, created_at = "r", datetime(2026, 1, 5, tzinfo=UTC)

            class inputs:  # noqa: N801
                as_of = datetime(2026, 1, 1, tzinfo=UTC).date()

    registry = CollectorRegistry()
    registry.register(Served(State(Release()), datetime(2026, 1, 6, tzinfo=UTC)))  # type: ignore[arg-type]
    assert registry.get_sample_value("cartograph_release_age_seconds") == 86_400


def test_a_service_without_a_release_is_not_ready_and_says_so_in_its_metrics(tmp_path: Path) -> None:
    with service(Settings(home=tmp_path)) as client:
        assert client.get("/ready").status_code == 503
        found = scraped(client)
    assert value(found, "cartograph_ready") == 0
    assert value(found, "cartograph_release_problem") == 1
    assert not [name for name, _ in found if name == "cartograph_release_info"]


def test_the_scores_of_a_model_are_counted_by_tenths(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        before = scraped(client)
        answer = client.post("/v1/predict/churn", json={"features": FEATURES}).raise_for_status()
        after = scraped(client)
    probability = answer.json()["probability"]
    up_to = min(bound for bound in SCORES_UP_TO if probability <= bound)
    labels = {"model": "churn_classifier", "up_to": f"{up_to:g}"}
    assert value(after, "cartograph_scores_total", **labels) - value(before, "cartograph_scores_total", **labels) == 1


def test_events_are_counted_by_what_became_of_them_and_the_log_by_its_bytes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with service(settings) as client:
        before = scraped(client)
        assert value(before, "cartograph_event_log_bytes") == 0
        first, second, wrong = make_event("m1"), make_event("m2"), make_event("m3", event_type="clik")
        client.post("/v1/events", json={"events": [first, wrong]}).raise_for_status()
        client.post("/v1/events", json={"events": [first, second, second]}).raise_for_status()
        after = scraped(client)
    found = {
        outcome: value(after, "cartograph_events_total", outcome=outcome)
        - value(before, "cartograph_events_total", outcome=outcome)
        for outcome in ("accepted", "repeated", "refused")
    }
    assert found == {"accepted": 2, "repeated": 2, "refused": 1}
    written = sum(path.stat().st_size for path in segments(settings.events_dir))
    assert value(after, "cartograph_event_log_bytes") == written > 0


def test_a_shop_that_takes_no_events_has_no_log_to_tell_of() -> None:
    found = samples(exposition(Served(State(), datetime(2026, 1, 1, tzinfo=UTC))).decode())
    assert ("cartograph_event_log_bytes", frozenset()) not in found


def test_refused_releases_are_counted_until_they_are_mended(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    bad = publish(settings, replaced={SHOP: b"{}"}).release_id
    for _ in range(2):  # the second finds it refused already
        with service(settings) as client:
            found = scraped(client)
        assert value(found, "cartograph_ready") == 1, "the one before is served"
        assert value(found, "cartograph_refused_releases") == 1
    store = open_store(settings)
    store.rollback()
    Refusals(settings.refused_releases_path, judge="").forget(bad)
    with service(settings) as client:
        assert value(scraped(client), "cartograph_refused_releases") == 0


@given(st.lists(st.floats(allow_nan=True), max_size=50))
def test_each_score_is_counted_once_where_it_belongs(scores: list[float]) -> None:
    def counted() -> dict[str, float]:
        return {
            sample.labels["up_to"]: sample.value
            for family in SCORES.collect()
            for sample in family.samples
            if sample.name == "cartograph_scores_total" and sample.labels["model"] == "property"
        }

    before = counted()
    observe_scores("property", scores)
    after = counted()
    more = {up_to: after[up_to] - before.get(up_to, 0) for up_to in after}
    known = [score for score in scores if score == score]  # noqa: PLR0124 - which are no NaN
    assert sum(more.values()) == len(known)
    assert more.get("0", 0) == sum(score <= 0 for score in known)
    assert more.get("0.5", 0) == sum(0.4 < score <= 0.5 for score in known)
    assert more.get("+Inf", 0) == sum(score > SCORES_UP_TO[-1] for score in known)


def test_worker_processes_add_their_counters_up() -> None:
    counting = (
        "from api.observability.metrics import observe_request, observe_scores\n"
        "observe_request('GET', '/v1/release', 200, 0.004)\n"
        "observe_scores('churn_classifier', [0.25, 0.75])\n"
    )
    telling = (
        "from datetime import UTC, datetime\n"
        "from api.observability.metrics import Served, exposition\n"
        "from api.services.serving import State\n"
        "print(exposition(Served(State(), datetime(2026, 1, 1, tzinfo=UTC))).decode())\n"
    )

    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    with shared():
        folder = Path(os.environ[SHARED])
        for _ in range(3):
            run(counting)
        found = samples(run(telling))
    assert SHARED not in os.environ
    assert not folder.exists()
    assert value(found, "cartograph_requests_total", method="GET", route="/v1/release", status="200") == 3
    assert value(found, "cartograph_scores_total", model="churn_classifier", up_to="0.3") == 3
    assert value(found, "cartograph_scores_total", model="churn_classifier", up_to="0.8") == 3
    bucket = {"method": "GET", "route": "/v1/release", "le": "0.005"}
    assert value(found, "cartograph_request_duration_seconds_bucket", **bucket) == 3


def test_one_process_tells_its_own_counters_without_a_shared_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARED, raising=False)
    observe_scores("alone", [0.25])
    found = samples(exposition(Served(State(), datetime(2026, 1, 1, tzinfo=UTC))).decode())
    assert value(found, "cartograph_scores_total", model="alone", up_to="0.3") == 1
