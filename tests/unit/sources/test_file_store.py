"""Files on S3 are found, read and seen to change as local ones are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cartograph.settings import load_settings
from ecom_assets.sources import SourceError
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.files_config import files_config
from tests.unit.sources.making import HEADER, REVIEWS, SHOP, deliver, ids, review

REGION, BUCKET = "eu-central-1", "shop-of-the-files-source"


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Any, str]]:
    """A client of an S3 server in this process, and the server's address."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "of-a-test")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name=REGION)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client, f"http://{host}:{port}"
        server.stop()


def reviews_in(url: str, glob: str) -> FilesSource:
    config = files_config({"files": {"sales": {"path": glob}}}, {"reviews": {"select": REVIEWS}})
    return FilesSource(config, SHOP, load_settings(s3_endpoint_url=url, s3_region=REGION, duckdb_memory_limit="500MB"))


def put(client: Any, key: str, *numbers: int) -> None:
    lines = "\n".join([HEADER, *(review(number) for number in numbers)])
    client.put_object(Bucket=BUCKET, Key=key, Body=f"{lines}\n".encode())


def test_files_on_s3(s3: tuple[Any, str]) -> None:
    client, url = s3
    put(client, "reviews/2024/a.csv", 1)
    put(client, "reviews/2024/01/b.csv", 2)
    put(client, "reviews/other.txt", 9)
    reader = reviews_in(url, f"s3://{BUCKET}/reviews/**/*.csv")
    delivery = deliver(reader)
    assert ids(delivery) == ["r1", "r2"]
    assert set(delivery.rows["_source"].to_pylist()) == {"2024/a.csv", "2024/01/b.csv"}

    put(client, "reviews/2024/a.csv", 3, 4)
    put(client, "reviews/c.csv", 5)
    assert ids(deliver(reader)) == ["r2", "r3", "r4", "r5"]


def test_nothing_on_s3_is_told_in_words(s3: tuple[Any, str]) -> None:
    client, url = s3
    put(client, "drafts/other.txt", 9)
    for glob, said in {
        f"s3://{BUCKET}/drafts/*.csv": f"of 1 in the folder s3://{BUCKET}/drafts none fits, e.g. other.txt",
        f"s3://{BUCKET}/nowhere/*.csv": f"the folder s3://{BUCKET}/nowhere does not exist",
        "s3://elsewhere/*.csv": "the folder s3://elsewhere does not exist",
    }.items():
        with pytest.raises(SourceError) as caught:
            deliver(reviews_in(url, glob))
        assert said in str(caught.value)
