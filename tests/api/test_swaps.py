"""Releases are swapped under load: nothing fails, no answer mixes two of them, and what is bad is refused once."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import httpx
import jsonschema
import pyarrow as pa
import pytest

from cartograph.alerts.ledger import Ledger
from cartograph.releases import Manifest, open_store
from cartograph.releases.contents.files import CHURN_CARD, CHURN_MODEL, CUSTOMERS, GOLDEN
from cartograph.releases.contents.golden import Golden
from cartograph.releases.contents.models import input_schema
from cartograph.releases.signing import generate
from cartograph.settings import Settings
from tests.api.making import make_card, make_customers, problem, service
from tests.api.swapping import GIVEN, SCHEMA, make_golden, overwrite, point_to, release

SWAPS, CLIENTS = 200, 4
WAYS = 4
"""Releases that are swapped: one more than stay loaded, so that both ways are taken."""


async def loaded(client: httpx.AsyncClient, done: asyncio.Event, seen: Counter[tuple[str, str]]) -> None:
    """Ask four kinds of answers until `done`; each must succeed and be of one release in all its parts."""
    while not done.is_set():
        customer = (await client.get("/v1/customers/C2")).raise_for_status().json()
        churn = (await client.post("/v1/predict/churn", json={"features": GIVEN})).raise_for_status().json()
        shown = (await client.get("/v1/release")).raise_for_status().json()
        effects = (await client.get("/v1/causal/effects")).raise_for_status().json()
        (effect,) = effects["effects"]
        versions = {one["name"]: one["version"] for one in shown["models"]}
        assert shown["shop"]["title"] == versions["churn_classifier"]
        seen[customer["release_id"], customer["segment"]] += 1
        seen[churn["release_id"], churn["model_version"]] += 1
        seen[shown["release_id"], shown["shop"]["title"]] += 1
        seen[effects["release_id"], effect["question"]] += 1


def under_load(url: httpx.URL, change: Callable[[], None]) -> Counter[tuple[str, str]]:
    """What was answered while `change` ran."""

    async def run() -> Counter[tuple[str, str]]:
        seen: Counter[tuple[str, str]] = Counter()
        done = asyncio.Event()
        async with httpx.AsyncClient(base_url=url, timeout=60) as client, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(loaded(client, done, seen))
            try:
                await asyncio.to_thread(change)
            finally:
                done.set()
        return seen

    return asyncio.run(run())


def test_two_hundred_swaps_under_load_fail_no_request_and_mix_no_releases(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = {release(settings, f"v{number}").release_id: f"v{number}" for number in range(WAYS)}
    order = list(made)
    with service(settings) as client:

        def swap() -> None:
            for number in range(SWAPS):
                wanted = order[(number + number // WAYS) % WAYS]
                served = client.post(f"/v1/admin/releases/{wanted}/activate").raise_for_status().json()
                assert served["release_id"] == wanted

        seen = under_load(client.base_url, swap)
        assert client.get("/ready").json()["release_id"] == open_store(settings).current_id()
    assert set(seen) == set(made.items()), "each answer is of the release that it names, and all were served"


def unsigned(settings: Settings) -> Manifest:
    return release(Settings(home=settings.home), "unsigned")


def corrupt(settings: Settings) -> Manifest:
    bad = release(settings, "corrupt")
    path = settings.shop_home / "releases" / bad.release_id / CUSTOMERS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(path, bytes(content))
    return bad


def truncated(settings: Settings) -> Manifest:
    bad = release(settings, "truncated")
    path = settings.shop_home / "releases" / bad.release_id / CHURN_MODEL
    overwrite(path, path.read_bytes()[:-100])
    return bad


def tampered(settings: Settings) -> Manifest:
    """All is consistent but for the signature: the file, its checksum, the manifest."""
    bad = release(settings, "tampered")
    path = settings.shop_home / "releases" / bad.release_id / "manifest.json"
    manifest = json.loads(path.read_bytes())
    overwrite(path, json.dumps({**manifest, "inputs": {**manifest["inputs"], "git_commit": "0" * 40}}).encode())
    return bad


def of_another_form(settings: Settings) -> Manifest:
    customers, sink = make_customers(["C1"]).drop_columns("as_of"), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, customers.schema) as writer:
        writer.write_table(customers)
    return release(settings, "form", {CUSTOMERS: sink.getvalue().to_pybytes()})


def of_another_schema(settings: Settings) -> Manifest:
    return release(settings, "schema", {SCHEMA: b'{"type": "object"}'})


def of_another_version(settings: Settings) -> Manifest:
    card = make_card(version="v0")
    told = {CHURN_CARD: card.model_dump_json().encode(), SCHEMA: json.dumps(input_schema(card)).encode()}
    return release(settings, "version", told)


def with_other_answers(settings: Settings) -> Manifest:
    golden = make_golden("golden", probability=0.123)
    return release(settings, "golden", {GOLDEN: golden.model_dump_json().encode()})


def without_golden_requests(settings: Settings) -> Manifest:
    return release(settings, "unrehearsed", {GOLDEN: None})


def without_a_schema(settings: Settings) -> Manifest:
    return release(settings, "undeclared", {SCHEMA: None})


def without_a_golden_request(settings: Settings) -> Manifest:
    return release(settings, "unasked", {GOLDEN: Golden(requests=()).model_dump_json().encode()})


def with_a_foreign_file(settings: Settings) -> Manifest:
    bad = release(settings, "foreign")
    (settings.shop_home / "releases" / bad.release_id / "evil.pkl").write_bytes(b"whose?")
    return bad


BAD: dict[Callable[[Settings], Manifest], str] = {
    unsigned: "is not signed",
    corrupt: "customers.arrow should have SHA-256",
    truncated: "churn_classifier.onnx should have SHA-256",
    tampered: "it was changed",
    of_another_form: "customers.arrow needs a column as_of",
    of_another_schema: "is not the schema",
    of_another_version: "churn: /model_version is 'v0', not 'version'",
    with_other_answers: "churn: /probability is",
    without_a_golden_request: "golden.json says: it has no request",
    without_golden_requests: "has no golden.json",
    without_a_schema: f"has no {SCHEMA}",
    with_a_foreign_file: "evil.pkl is not in its manifest",
}


@pytest.fixture
def signing(tmp_path: Path) -> Settings:
    """A shop whose releases are signed, and taken only then."""
    generate(tmp_path / "key")
    keys = {"release_signing_key": tmp_path / "key", "release_trusted_keys": tmp_path / "key.pub"}
    return Settings(home=tmp_path / "home", **keys)


def until(wanted: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not wanted():
        assert monotonic() < deadline, "it never came"


def test_bad_releases_are_refused_under_load_remembered_and_told_once(signing: Settings) -> None:
    good = release(signing, "good").release_id
    bad: dict[str, str] = {}
    for spoil, reason in BAD.items():
        bad[spoil(signing).release_id] = reason
        point_to(signing, good)
    with service(signing, poll_seconds=0.02) as client:

        def offer() -> None:
            for release_id, reason in bad.items():
                point_to(signing, release_id)
                until(lambda reason=reason: reason in (client.get("/ready").json()["problem"] or ""))  # type: ignore[misc]

        seen = under_load(client.base_url, offer)
        until(lambda: len(alerts(signing)) >= len(bad))
        listed = client.get("/v1/admin/releases").json()
        refused = client.post(f"/v1/admin/releases/{next(iter(bad))}/activate")
    assert set(seen) == {(good, "good")}
    found = {one["release_id"]: one for one in listed["releases"] if one["state"] == "refused"}
    assert found.keys() == bad.keys()
    for release_id, reason in bad.items():
        assert reason in found[release_id]["problem"]
        assert found[release_id]["refused_at"]
    assert listed["release_id"] == good
    assert "is not signed" in problem(refused, 409, "release-refused")["detail"]
    assert alerts(signing) == [(release_id, "Error: serving/release (release_is_served)") for release_id in bad]


def test_after_a_restart_a_refused_release_stays_refused_until_it_is_mended(signing: Settings) -> None:
    good = release(signing, "good").release_id
    bad = release(signing, "bad").release_id
    path = signing.shop_home / "releases" / bad / CUSTOMERS
    whole = path.read_bytes()
    overwrite(path, whole[:-1])

    def refused_at(client: httpx.Client) -> str:
        (found,) = (one for one in client.get("/v1/admin/releases").json()["releases"] if one["state"] == "refused")
        assert (found["release_id"], found["is_current"]) == (bad, True)
        return str(found["refused_at"])

    with service(signing, poll_seconds=0.02) as client:
        until(lambda: len(alerts(signing)) == 1)
        first = refused_at(client)
    with service(signing, poll_seconds=0.02) as client:
        ready = client.get("/ready").raise_for_status().json()
        assert ready["release_id"] == good, "the one before the refused one is served, verified as any"
        assert bad in ready["problem"]
        assert client.get("/v1/customers/C1").json()["segment"] == "good"
        assert refused_at(client) == first, "it was not tried again"
        overwrite(path, whole)
        until(lambda: client.get("/ready").json() == {**ready, "release_id": bad, "problem": None})
        until(lambda: len(alerts(signing)) == 2)
    assert alerts(signing)[1] == (bad, "Recovered: serving/release (release_is_served)")


def test_a_refused_release_that_becomes_current_again_is_told_again(signing: Settings) -> None:
    good = release(signing, "good").release_id
    bad = release(signing, "bad").release_id
    path = signing.shop_home / "releases" / bad / CUSTOMERS
    overwrite(path, path.read_bytes()[:-1])
    store = open_store(signing)
    with service(signing, poll_seconds=0.02):
        until(lambda: len(alerts(signing)) == 1)
        store.activate(good, is_verified=True)
        until(lambda: len(alerts(signing)) == 2)
        store.activate(bad, is_verified=True)
        until(lambda: len(alerts(signing)) == 3)
    words = [f"{word}: serving/release (release_is_served)" for word in ("Error", "Recovered", "Error")]
    assert alerts(signing) == list(zip((bad, good, bad), words, strict=True))


def test_a_refused_activation_is_told_to_its_caller_and_alerts_only_once_it_is_current(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    good = release(settings, "good").release_id
    bad = corrupt(settings).release_id
    point_to(settings, good)
    with service(settings, poll_seconds=0.02) as client:
        refused = client.post(f"/v1/admin/releases/{bad}/activate")
        assert "customers.arrow should have" in problem(refused, 409, "release-refused")["detail"]
        assert client.get("/ready").json()["problem"] is None
        assert Ledger(settings.alerts_path).failing() == [], "the current release is served all the time"
        point_to(settings, bad)
        until(lambda: len(alerts(settings)) == 1)
        point_to(settings, good)
        until(lambda: len(alerts(settings)) == 2)
    words = [f"{word}: serving/release (release_is_served)" for word in ("Error", "Recovered")]
    assert alerts(settings) == list(zip((bad, good), words, strict=True))


def test_without_any_good_release_the_service_is_not_ready_and_says_why(signing: Settings) -> None:
    bad = unsigned(signing)
    with service(signing) as client:
        told = problem(client.get("/ready"), 503, "no-release")
        listed = client.get("/v1/admin/releases").json()
    assert "CARTOGRAPH_RELEASE_SIGNING_KEY" in told["detail"]
    assert listed["release_id"] is None
    assert [(one["release_id"], one["state"], one["signed_by"]) for one in listed["releases"]] == [
        (bad.release_id, "refused", None)
    ]


def test_going_back_takes_no_loading_and_other_processes_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    first, second = (release(settings, version).release_id for version in ("first", "second"))
    with service(settings) as client, service(settings, poll_seconds=0.02) as other:
        client.post(f"/v1/admin/releases/{first}/activate").raise_for_status()
        assert client.post(f"/v1/admin/releases/{second}/activate").json()["previous_release_id"] == first
        again = client.post(f"/v1/admin/releases/{second}/activate").json()
        assert (again["release_id"], again["previous_release_id"]) == (second, None)
        until(lambda: other.get("/ready").json()["release_id"] == second)
        with monkeypatch.context() as nothing_loads:
            nothing_loads.setattr("api.services.serving.load_release", lambda *_: 1 / 0)
            back = client.post(f"/v1/admin/releases/{second}/rollback").raise_for_status().json()
        assert (back["release_id"], back["previous_release_id"]) == (first, second)
        assert client.get("/v1/customers/C1").json()["segment"] == "first"
        until(lambda: other.get("/ready").json()["release_id"] == first)
        states = {one["release_id"]: one["state"] for one in client.get("/v1/admin/releases").json()["releases"]}
    assert states == {first: "served", second: "loaded"}
    assert open_store(settings).current_id() == first


def test_a_rollback_that_is_sent_again_changes_nothing_more(tmp_path: Path) -> None:
    """As by a client that got no answer, and by way of another worker process, which serves what is current then."""
    settings = Settings(home=tmp_path)
    first, second, third = (release(settings, version).release_id for version in ("first", "second", "third"))
    with service(settings) as client, service(settings) as other:
        answers = [asked.post(f"/v1/admin/releases/{third}/rollback") for asked in (client, client, other)]
        assert [answer.raise_for_status().json() for answer in answers] == [answers[0].json()] * 3
        assert (answers[0].json()["release_id"], answers[0].json()["previous_release_id"]) == (second, third)
        assert [asked.get("/ready").json()["release_id"] for asked in (client, other)] == [second] * 2
        assert client.post(f"/v1/admin/releases/{second}/rollback").json()["release_id"] == first
        problem(client.post("/v1/admin/releases/2026-01-01-0123456789ab/rollback"), 404, "unknown-release")
    assert open_store(settings).current_id() == first


def test_what_cannot_be_activated_changes_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    only = release(settings, "only").release_id
    with service(settings) as client:
        problem(client.post("/v1/admin/releases/2026-01-01-0123456789ab/activate"), 404, "unknown-release")
        problem(client.post("/v1/admin/releases/..%2f..%2fetc/activate"), 404)
        problem(client.post(f"/v1/admin/releases/{only}/rollback"), 409, "no-earlier-release")
        assert client.get("/ready").json()["release_id"] == only


@pytest.mark.parametrize("act", ["activate", "rollback"])
def test_a_body_is_refused_where_none_is_taken(tmp_path: Path, act: str) -> None:
    settings = Settings(home=tmp_path)
    first, second = (release(settings, version).release_id for version in ("first", "second"))
    on, current = {"activate": (first, second), "rollback": (second, second)}[act]
    path, kind = f"/v1/admin/releases/{on}/{act}", {"Content-Type": "application/json"}
    with service(settings) as client:
        for body in ('{"dry_run": true}', "[]", "null", '""', "{", "0"):
            (told,) = problem(client.post(path, content=body, headers=kind), 422, "invalid-request")["errors"]
            assert told == {"detail": "no body is taken here: leave it out, or send {}", "pointer": ""}
            assert client.get("/ready").json()["release_id"] == current
        problem(client.post(path, content="a=1"), 415, "no-json")
        for body in ("", "{}", " { }\n"):
            answer = client.post(path, content=body, headers=kind).raise_for_status().json()
            assert answer["release_id"] == first


def test_what_an_answer_says_of_its_model_is_its_schema(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    made = release(settings, "v7")
    with service(settings) as client:
        answer = client.get("/v1/models/churn_classifier/schema").raise_for_status().json()
        problem(client.get("/v1/models/product_recommender/schema"), 404, "no-schema")
        validator = jsonschema.Draft202012Validator(answer["input_schema"])
        wrong = [{**GIVEN, "recency_days": -1}, {**GIVEN, "more": 1}, {**GIVEN, "is_opted_in": None}, {}]
        for features in (GIVEN, {**GIVEN, "mean_gap_days": None}, *wrong):
            status = client.post("/v1/predict/churn", json={"features": features}).status_code
            assert validator.is_valid(features) == (status == 200), features
    assert (answer["release_id"], answer["model_version"]) == (made.release_id, "v7")


def alerts(settings: Settings) -> list[tuple[str, str]]:
    """What was told: the release, and the title."""
    if not settings.alerts_log.is_file():
        return []
    lines = [json.loads(line) for line in settings.alerts_log.read_text().splitlines()]
    return [(line["run_id"], line["title"]) for line in lines]
