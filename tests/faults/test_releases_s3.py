"""A writer of releases in S3 that dies at any request, or races another, never harms a reader."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cartograph.releases import NoRelease, StoreUnavailable
from cartograph.releases.s3 import S3Store
from tests.unit.releases.making import publish

KEYS = ("aws_access_key_id", "aws_secret_access_key")
BUCKETS = (f"bucket-{number}" for number in count())


class Death(BaseException):
    """The end of the process, as far as the store can tell: nothing it does may need to happen afterwards."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(url: str) -> str:
    name = next(BUCKETS)
    make_client(url).create_bucket(Bucket=name)
    return name


def make_client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **dict.fromkeys(KEYS, "of-a-test"))


def keys(client: Any, bucket: str) -> set[str]:
    return {item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", ())}


def test_dead_at_any_request_a_writer_leaves_the_old_release_current(url: str, bucket: str, tmp_path: Path) -> None:
    healthy = S3Store(make_client(url), bucket, "releases", tmp_path / "reader")
    old = publish(healthy, "old")
    client = make_client(url)
    dying = S3Store(client, bucket, "releases", tmp_path / "writer")
    state = {"left": 0}

    def die_in_time(**_: Any) -> None:
        state["left"] -= 1
        if state["left"] < 0:
            raise Death

    client.meta.events.register("before-call.s3", die_in_time)
    for requests in range(50):
        state["left"] = requests
        try:
            new = publish(dying, f"new {requests}")
        except Death:
            assert healthy.current() == old
            assert (healthy.fetch(healthy.current_id()) / "answer.txt").read_text() == "old"
            for release in healthy.ids():
                healthy.verify(release)
        else:
            assert healthy.current() == new
            break
    assert requests > 5

    reader = make_client(url)
    halves = {key for key in keys(reader, bucket) if "2026" in key and key.split("/")[1] not in healthy.ids()}
    assert halves
    healthy.prune(50)
    assert halves < keys(reader, bucket), "what may still be an upload must stay"
    S3Store(reader, bucket, "releases", tmp_path / "reader", abandoned_after=timedelta(0)).prune(50)
    assert not halves & keys(reader, bucket)
    assert healthy.verify(new.release_id) == healthy.current()


def test_a_race_for_the_pointer_loses_no_history(url: str, bucket: str, tmp_path: Path) -> None:
    rival = S3Store(make_client(url), bucket, "", tmp_path / "rival")
    client = make_client(url)
    store = S3Store(client, bucket, "", tmp_path / "store")
    published = []

    def overtake(params: dict[str, Any], **_: Any) -> None:
        if params["url_path"].endswith("current.json") and len(published) < 2:
            published.append(publish(rival, f"rival {len(published)}"))

    client.meta.events.register("before-call.s3.PutObject", overtake)
    mine = publish(store, "mine")
    assert len(published) == 2
    assert store.current() == mine
    assert store.rollback() == published[1]
    assert store.rollback() == published[0]
    with pytest.raises(NoRelease):
        store.rollback()


def test_of_two_writers_of_one_release_the_first_manifest_stays(url: str, bucket: str, tmp_path: Path) -> None:
    rival = S3Store(make_client(url), bucket, "", tmp_path / "rival")
    client = make_client(url)
    store = S3Store(client, bucket, "", tmp_path / "store")
    published = []

    def overtake(params: dict[str, Any], **_: Any) -> None:
        if params["url_path"].endswith("manifest.json") and not published:
            published.append(publish(rival, "same", day=1))

    client.meta.events.register("before-call.s3.PutObject", overtake)
    assert publish(store, "same", day=2) == published[0] == rival.current()


def test_a_damaged_cache_is_fetched_again_and_what_was_pruned_leaves_it(url: str, bucket: str, tmp_path: Path) -> None:
    store = S3Store(make_client(url), bucket, "", tmp_path / "cache")
    first, second = publish(store, "first"), publish(store, "second")
    copy = store.fetch(first.release_id)
    (copy / "answer.txt").unlink()
    (copy / "answer.txt").write_text("forged")
    assert (store.fetch(first.release_id) / "answer.txt").read_text() == "first"
    store.prune(1)
    store.fetch(second.release_id)
    assert not copy.exists()


def test_a_store_that_does_not_answer_is_named(tmp_path: Path, bucket: str) -> None:
    client = make_client("http://127.0.0.1:9")
    client.meta.config.retries = {"total_max_attempts": 1}
    with pytest.raises(StoreUnavailable, match=r"s3://bucket-\d+ cannot be used.*CARTOGRAPH_S3_ENDPOINT_URL"):
        S3Store(client, bucket, "", tmp_path).current()
