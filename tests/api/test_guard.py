"""Who may ask what, how often, and by which name; with and without keys, over real HTTP."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from fastapi import APIRouter, Response
from starlette.types import Message

from api.guard import MAX_BODY_BYTES, MAX_BULK_BYTES, RECORDED_REFUSALS, Guard, most_bytes, scope_needed
from api.main import create_app
from api.services.access import Access
from api.services.rates import address_of
from cartograph.audit import acts
from cartograph.keys import SCOPES, KeyStore, Scope
from cartograph.releases.contents.tables import mark_personal
from cartograph.settings import Settings
from tests.api.making import make_customers, problem, publish, service, serving


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a service that asks for keys, wherever it runs."""
    settings = Settings(home=tmp_path_factory.mktemp("guarded"), env="production")
    publish(settings)
    return settings


@pytest.fixture(scope="module")
def service_with_keys(guarded: Settings) -> Iterator[httpx.Client]:
    with service(guarded) as client:
        yield client


def make_key(settings: Settings, name: str, *scopes: Scope, **changes: Any) -> dict[str, str]:
    """The headers of a new key."""
    given = {"now": datetime.now(UTC), "days": 1, **changes}
    _, sent = KeyStore(settings.keys_path).create(name, scopes, **given)
    return {"X-API-Key": sent}


@pytest.fixture(scope="module")
def key(guarded: Settings) -> dict[Scope, dict[str, str]]:
    """A key of each scope alone."""
    return {scope: make_key(guarded, scope, scope) for scope in SCOPES}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/health", None),
        ("GET", "/ready", None),
        ("GET", "/docs", None),
        ("GET", "/static-offline-docs/swagger-ui.css", None),
        ("GET", "/v1/customers/C1", "read"),
        ("HEAD", "/v1/customers/C1", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/v1/events", "read"),
        ("GET", "/nothing", "read"),
        ("GET", "/health/", "read"),
        ("POST", "/v1/predict/churn", "predict"),
        ("POST", "/v1/recommendations/session", "predict"),
        ("POST", "/v1/causal/policies/q/decision", "predict"),
        ("DELETE", "/v1/customers/C1", "predict"),
        ("POST", "/v1/events", "ingest"),
        ("POST", "/v1/admin/releases/r/activate", "admin"),
        ("GET", "/v1/admin", "admin"),
        ("GET", "/v1/admin/releases", "admin"),
    ],
)
def test_the_scope_of_a_request_follows_from_its_method_and_path(method: str, path: str, scope: str | None) -> None:
    assert scope_needed(method, path) == scope


def test_many_things_at_once_may_take_a_longer_body() -> None:
    assert [most_bytes(path) for path in ("/v1/events", "/v1/predict/churn/batch")] == [MAX_BULK_BYTES] * 2
    assert [most_bytes(path) for path in ("/v1/predict/churn", "/v1/events/x", "/batch")] == [MAX_BODY_BYTES] * 3


def test_every_documented_endpoint_but_the_open_ones_refuses_whoever_has_no_key(
    service_with_keys: httpx.Client, key: dict[Scope, dict[str, str]]
) -> None:
    paths = service_with_keys.get("/openapi.json").json()["paths"]
    asked = [(method.upper(), path) for path, operations in paths.items() for method in operations]
    for method, path in asked:
        if path in {"/health", "/ready"}:
            assert service_with_keys.request(method, path).status_code == 200
            continue
        for headers in ({}, {"X-API-Key": "ctg_000000000000_" + "0" * 64}, {"Authorization": "Basic YTpi"}):
            refused = service_with_keys.request(method, path, headers=headers)
            problem(refused, 401, "invalid-key" if headers else "no-key")
            assert refused.headers["www-authenticate"] == 'Bearer realm="cartograph"'
        needed = scope_needed(method, path)
        for scope, headers in key.items():
            found = service_with_keys.request(method, path, headers=headers, json={} if method == "POST" else None)
            assert (found.status_code == 403) == (scope != needed), (method, path, scope)
            if scope != needed:
                assert f"needs the scope {needed}" in problem(found, 403, "missing-scope")["detail"]
                assert f'scope="{needed}"' in found.headers["www-authenticate"]


def test_the_document_says_how_to_ask(service_with_keys: httpx.Client) -> None:
    document = service_with_keys.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"].keys() == {"key", "bearer"}
    asks = document["paths"]["/v1/predict/churn"]["post"]
    assert asks["security"] == [{"key": []}, {"bearer": []}]
    assert asks["description"].endswith("Scope: `predict`.")
    assert "security" not in document["paths"]["/health"]["get"]


def test_a_key_is_sent_by_either_header_and_not_by_both(
    service_with_keys: httpx.Client, key: dict[Scope, dict[str, str]]
) -> None:
    sent = key["read"]["X-API-Key"]
    for headers in ({"X-API-Key": sent}, {"Authorization": f"Bearer {sent}"}, {"authorization": f"bearer {sent}"}):
        assert service_with_keys.get("/v1/release", headers=headers).status_code == 200
    both = {"X-API-Key": sent, "Authorization": f"Bearer {sent}"}
    problem(service_with_keys.get("/v1/release", headers=both), 401, "two-keys")
    twice = [("X-API-Key", sent), ("X-API-Key", key["admin"]["X-API-Key"])]
    problem(service_with_keys.get("/v1/release", headers=twice), 401, "invalid-key")


def test_nobody_is_told_what_there_is_without_a_key(service_with_keys: httpx.Client) -> None:
    """Neither by a 404, a 405 or a 422, nor by how a wrong body is judged."""
    for method, path in (("GET", "/nothing"), ("DELETE", "/v1/release"), ("GET", "/v1/customers/nobody")):
        problem(service_with_keys.request(method, path), 401, "no-key")
    problem(service_with_keys.post("/v1/predict/churn", content=b"{"), 401, "no-key")


def test_changes_of_keys_hold_for_the_running_service(guarded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.services.access.RECHECK_SECONDS", 0.0)
    store, now = KeyStore(guarded.keys_path), datetime.now(UTC)
    with service(guarded) as client:
        headers = make_key(guarded, "short-lived", "read")
        assert client.get("/v1/release", headers=headers).status_code == 200
        (made,) = [one for one in store.all() if one.name == "short-lived"]
        _, new = store.rotate(made.id, now=now, overlap=timedelta(hours=1))
        for sent in (headers["X-API-Key"], new):
            assert client.get("/v1/release", headers={"X-API-Key": sent}).status_code == 200
        store.revoke(made.id, now=now)
        for sent in (headers["X-API-Key"], new):
            problem(client.get("/v1/release", headers={"X-API-Key": sent}), 401, "invalid-key")
    (after,) = [one for one in store.all() if one.id == made.id]
    assert after.last_used_at is not None


def test_keys_that_cannot_be_read_refuse_everybody(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    settings.keys_path.write_bytes(b"no database at all" * 99)
    with service(settings) as client:
        assert client.get("/health").json()["access"] == "unknown"
        refused = client.get("/v1/release")
        assert "its log says why" in problem(refused, 503, "access-unknown")["detail"]
        assert refused.headers["retry-after"] == "5"


def test_a_laptop_is_open_until_its_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.services.access.RECHECK_SECONDS", 0.0)
    settings = Settings(home=tmp_path)
    publish(settings)
    with service(settings) as client:
        assert client.get("/health").json()["access"] == "open"
        assert "ratelimit" not in client.get("/v1/release").headers
        headers = make_key(settings, "first", "read")
        assert client.get("/health").json()["access"] == "keys"
        problem(client.get("/v1/release"), 401, "no-key")
        assert client.get("/v1/release", headers=headers).status_code == 200


def test_a_laptop_whose_last_key_is_revoked_stays_closed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings)
    headers, store = make_key(settings, "only", "read"), KeyStore(settings.keys_path)
    (only,) = store.all()
    store.revoke(only.id, now=datetime.now(UTC))
    with service(settings) as client:
        assert client.get("/health").json()["access"] == "keys"
        problem(client.get("/v1/release"), 401, "no-key")
        problem(client.get("/v1/release", headers=headers), 401, "invalid-key")


@pytest.mark.parametrize("changes", [{"env": "staging"}, {"env": "production"}, {"api_host": "0.0.0.0"}])  # noqa: S104
def test_elsewhere_a_key_is_needed_from_the_start(tmp_path: Path, changes: dict[str, Any]) -> None:
    with service(Settings(home=tmp_path, **changes)) as client:
        assert client.get("/health").json()["access"] == "keys"
        assert "`cartograph keys create`" in problem(client.get("/v1/release"), 401, "no-key")["detail"]


def test_an_open_service_answers_by_the_machines_own_names_only(client: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:9999", "127.8.8.8", "[::1]:8000"):
        assert client.get("/health", headers={"Host": host}).status_code == 200, host
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8000",
        "10.0.0.1",
        "[::2]",
        "[",
        "evil@localhost",
    ):
        problem(client.get("/v1/release", headers={"Host": host}), 421, "unknown-host")


def test_a_page_from_elsewhere_changes_nothing_in_an_open_service(client: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://10.0.0.1:8000"):
        for place in ("/v1/admin/releases/r1/rollback", "/v1/events", "/v1/predict/churn"):
            problem(client.post(place, headers={"Origin": origin}), 403, "foreign-page")
        assert client.get("/health", headers={"Origin": origin}).status_code == 200
    for origin in ("http://localhost:3000", "http://127.0.0.1:8501", "http://[::1]:80"):
        problem(client.post("/v1/predict/churn", headers={"Origin": origin}), 422, "invalid-request")


def test_a_service_of_a_name_answers_by_it_alone_but_to_probes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production", api_allowed_hosts="api.example.com, shop.internal")
    with service(settings) as client:
        for host in ("api.example.com", "API.example.com:443", "shop.internal"):
            problem(client.get("/v1/release", headers={"Host": host}), 401, "no-key")
        problem(client.get("/v1/release", headers={"Host": "other.example.com"}), 421, "unknown-host")
        assert client.get("/health", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_strangers_are_not_told_the_paths_of_what_cannot_be_served(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production")
    manifest = publish(settings)
    (settings.shop_home / "releases" / manifest.release_id / "manifest.json").write_text("{}")
    reader, keeper = make_key(settings, "reader", "read"), make_key(settings, "keeper", "read", "admin")
    with service(settings) as client:
        stranger, known = (client.get("/ready", headers=headers) for headers in ({}, keeper))
        assert str(tmp_path) not in stranger.text
        assert "the service's log say why" in problem(stranger, 503, "no-release")["detail"]
        assert known.text == stranger.text, "nobody is asked for a key there"
        asked = [client.get("/v1/release", headers=headers) for headers in (reader, keeper)]
        told = [str(tmp_path) in problem(answer, 503, "no-release")["detail"] for answer in asked]
        assert told == [False, True], "the paths are for administrators"


def test_a_rate_is_told_and_held_for_each_key(guarded: Settings) -> None:
    one, other = (make_key(guarded, name, "read", rate="2/hour") for name in ("slow", "slow too"))
    plain = make_key(guarded, "usual", "read")
    with service(guarded) as client:
        answers = [client.get("/v1/release", headers=one) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"key";q=2;w=3600'] * 3
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=1", "r=0", "r=0"]
        told = problem(answers[2], 429, "rate-exceeded")
        assert "2 requests in 3600 seconds" in told["detail"]
        assert 0 < int(answers[2].headers["retry-after"]) <= 3600
        assert client.get("/v1/release", headers=other).status_code == 200
        assert client.get("/v1/release", headers=plain).headers["ratelimit-policy"] == '"key";q=12000;w=60'


def test_what_is_refused_counts_towards_a_rate_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production", api_rate="3/hour")
    publish(settings)
    reader, other = (make_key(settings, name, "read") for name in ("eve", "crm"))
    path = "/v1/admin/releases/r1/rollback"
    with service(settings) as client:
        assert [client.post(path, headers=reader).status_code for _ in range(5)] == [403] * 3 + [429] * 2
        problem(client.get("/v1/release", headers=reader), 429, "rate-exceeded")
        wrong = {"X-API-Key": "ctg_000000000000_" + "0" * 64}
        strangers = [client.get("/v1/release", headers=headers) for headers in ({}, wrong, {}, {}, wrong)]
        assert [answer.status_code for answer in strangers] == [401] * 3 + [429] * 2
        assert strangers[0].headers["ratelimit-policy"] == '"address";q=3;w=3600'
        assert "3 requests in 3600 seconds" in problem(strangers[4], 429, "rate-exceeded")["detail"]
        assert client.get("/v1/release", headers=other).status_code == 200, "a key does not pay for its neighbours"


def test_the_audit_log_grows_by_few_lines_of_whoever_may_not_act(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production", api_rate="200/hour")
    reader, other = (make_key(settings, name, "read") for name in ("eve", "bob"))
    admin = make_key(settings, "ada", "admin")
    path = f"/v1/admin/releases/{publish(settings).release_id}/rollback"
    with service(settings) as client:
        for _ in range(250):
            assert client.post(path, headers=reader).status_code in {403, 429}
        assert client.post(path, headers=other).status_code == 403
        for _ in range(RECORDED_REFUSALS + 5):
            problem(client.post(path, headers=admin), 409, "no-earlier-release")
    told = acts(settings.audit_log)
    by = Counter(act.actor.split()[0] for act in told)
    assert by == {"eve": RECORDED_REFUSALS, "bob": 1, "ada": RECORDED_REFUSALS + 5}
    assert [act.detail for act in told[:RECORDED_REFUSALS]] == [
        *["status 403"] * (RECORDED_REFUSALS - 1),
        "status 403; what else this worker refuses to this key within the hour is not recorded",
    ]


def test_of_a_key_what_it_may_not_and_what_is_over_its_rate_are_recorded_as_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production", api_rate="4/hour")
    reader, admin = make_key(settings, "eve", "read"), make_key(settings, "ada", "admin")
    path = f"/v1/admin/releases/{publish(settings).release_id}/rollback"
    with service(settings) as client:
        for key in (reader, admin):
            for _ in range(2 * RECORDED_REFUSALS):
                client.post(path, headers=key)
    told = [(act.actor.split()[0], act.detail[:10]) for act in acts(settings.audit_log)]
    assert told == [
        *[("eve", "status 403")] * 4, *[("eve", "status 429")] * (RECORDED_REFUSALS - 4),
        *[("ada", "status 409")] * 4, *[("ada", "status 429")] * RECORDED_REFUSALS,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_one_client_has_one_address_however_many_of_a_network_it_uses(host: str, address: str) -> None:
    assert address_of(host) == address


def test_pages_from_elsewhere_are_kept_out_unless_their_origin_is_named(tmp_path: Path) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    crm, other = {"Origin": "https://crm.example.com"}, {"Origin": "https://evil.example"}
    with service(Settings(home=tmp_path / "closed")) as client:
        for answer in (client.get("/health", headers=crm), client.options("/v1/release", headers=crm | asks)):
            assert not [name for name in answer.headers if name.startswith("access-control")]
    named = Settings(home=tmp_path / "named", env="production", api_cors_origins="https://crm.example.com")
    with service(named) as client:
        allowed = client.options("/v1/release", headers=crm | asks)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://crm.example.com"
        assert "access-control-allow-credentials" not in allowed.headers
        assert client.options("/v1/release", headers=other | asks).status_code == 400
        assert "access-control-allow-origin" not in client.get("/health", headers=other).headers
        problem(client.get("/v1/release", headers=crm), 401, "no-key")


def test_every_answer_has_the_security_headers(service_with_keys: httpx.Client, client: httpx.Client) -> None:
    for path in ("/health", "/v1/release", "/docs"):
        headers = service_with_keys.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["strict-transport-security"].startswith("max-age=31536000")
        assert ("content-security-policy" in headers) == (path != "/docs")
    assert "strict-transport-security" not in client.get("/health").headers


def test_a_body_is_json_and_nothing_else(client: httpx.Client) -> None:
    url = "/v1/predict/churn"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""):
        problem(client.post(url, content=b"{}", headers={"Content-Type": kind}), 415, "no-json")
    squeezed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(client.post(url, content=b"{}", headers=squeezed), 415, "no-json")
    for kind in ("application/json", 'Application/JSON; charset="UTF-8"'):
        problem(client.post(url, content=b"{}", headers={"Content-Type": kind}), 422, "invalid-request")


def router_of(*, fails: bool = False) -> APIRouter:
    """An administrative act, as other parts of the service have them."""
    router = APIRouter(prefix="/v1/admin")

    @router.post("/releases/{release}/withdraw")
    async def withdraw(release: str) -> dict[str, str]:
        if fails:
            raise RuntimeError(release)
        return {"release": release}

    return router


@pytest.mark.parametrize("fails", [False, True])
def test_administrative_acts_are_recorded_with_who_asked(tmp_path: Path, *, fails: bool) -> None:
    settings = Settings(home=tmp_path, env="production")
    admin, reader = make_key(settings, "ada", "admin"), make_key(settings, "eve", "read")
    app = create_app(settings)
    app.include_router(router_of(fails=fails))
    path = "/v1/admin/releases/r1/withdraw"
    with serving(app) as client:
        assert client.post(path).status_code == 401
        assert client.post(path, headers=reader).status_code == 403
        assert client.get("/v1/admin/releases", headers=admin).status_code == 200
        assert client.post(path, headers=admin).status_code == (500 if fails else 200)
    told = [(act.actor.split()[0], act.action, act.target, act.outcome) for act in acts(settings.audit_log)]
    assert told == [
        ("eve", "POST", path, "refused"),
        ("ada", "POST", path, "failed" if fails else "done"),
    ]
    assert admin["X-API-Key"] not in settings.audit_log.read_text()


def test_an_act_is_recorded_before_its_answer_goes_out(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    seen: list[tuple[int, list[str]]] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.append((message["status"], [act.detail for act in acts(settings.audit_log)]))

    async def receive() -> Message:
        return {"type": "http.request"}

    open_to_all = cast(Access, SimpleNamespace(is_open=True))
    for answer in (Response(status_code=204), Response(status_code=409)):
        guard = Guard(answer, settings=settings, access=open_to_all)
        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "POST", "path": "/v1/admin/x", "headers": headers, "client": None}
        asyncio.run(guard(scope, receive, send))
    assert seen == [(204, ["status 204"]), (409, ["status 204", "status 409"])]


def test_an_act_that_cannot_be_recorded_does_not_look_as_if_it_were(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.audit_log.mkdir(parents=True)
    app = create_app(settings)
    app.include_router(router_of())
    with serving(app) as client:
        problem(client.post("/v1/admin/releases/r1/withdraw"), 500)


def test_personal_data_need_their_own_scope(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, env="production")
    customers = mark_personal(make_customers(["C1"]), {"recency_days": "birth_date", "is_opted_in": "device"})
    publish(settings, customers=customers)
    reader, insider = make_key(settings, "crm", "read"), make_key(settings, "dpo", "read", "pii")
    with service(settings) as client:
        masked = client.get("/v1/customers/C1", headers=reader).json()
        shown = client.get("/v1/customers/C1", headers=insider).json()
    assert masked["masked"] == ["recency_days", "is_opted_in"]
    assert masked["features"] == {"recency_days": None, "mean_gap_days": None, "is_opted_in": None}
    assert shown["masked"] == []
    assert shown["features"] == {"recency_days": 0, "mean_gap_days": None, "is_opted_in": True}
    same = {"features", "masked"}
    assert {k: v for k, v in masked.items() if k not in same} == {k: v for k, v in shown.items() if k not in same}


def test_a_laptop_shows_all_of_its_own_data(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    publish(settings, customers=mark_personal(make_customers(["C1"]), {"recency_days": "birth_date"}))
    with service(settings) as client:
        assert client.get("/v1/customers/C1").json()["masked"] == []
