"""A release that is not signed by a trusted key is not taken, whatever of it was changed."""

import json
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.releases import DamagedRelease, ReleaseStore, UnknownRelease, UntrustedRelease, open_store
from cartograph.releases.manifest import MANIFEST
from cartograph.releases.signing import KeyFileError, Signer, TrustedKeys, generate
from cartograph.settings import Settings, SettingsError
from tests.unit.releases.making import publish

CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key")
BUCKETS = (f"signed-{number}" for number in count())
Change = Callable[[str, bytes], None]
"""Gives the file at a path beneath the store's root another content."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """The settings of a key that is trusted."""
    generate(tmp_path / "key")
    return {"release_signing_key": tmp_path / "key", "release_trusted_keys": tmp_path / "key.pub"}


class Place:
    """A place of releases that stores with and without keys look at, and its files."""

    def __init__(self, tmp_path: Path, client: Any | None) -> None:
        self._client, self._bucket = client, next(BUCKETS)
        self._root = tmp_path / "releases" / "simulated"
        self._settings: dict[str, Any] = {"home": tmp_path / "home", "release_uri": str(tmp_path / "releases")}
        if client is not None:
            client.create_bucket(Bucket=self._bucket)
            self._settings["release_uri"] = f"s3://{self._bucket}"

    def store(self, **keys: Path) -> ReleaseStore:
        return open_store(Settings(**self._settings, **keys), self._client)

    def read(self, name: str) -> bytes:
        if self._client is None:
            return (self._root / name).read_bytes()
        body = self._client.get_object(Bucket=self._bucket, Key=f"simulated/{name}")["Body"]
        return bytes(body.read())

    def write(self, name: str, content: bytes) -> None:
        if self._client is None:
            (self._root / name).chmod(0o644)
            (self._root / name).write_bytes(content)
        else:
            self._client.put_object(Bucket=self._bucket, Key=f"simulated/{name}", Body=content)

    def change(self, release: str, **members: Any) -> None:
        """Change members of the manifest."""
        manifest = json.loads(self.read(f"{release}/{MANIFEST}"))
        self.write(f"{release}/{MANIFEST}", json.dumps({**manifest, **members}).encode())


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Place:
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **dict.fromkeys(CREDENTIALS, "of-a-test"))
    return Place(tmp_path, client if request.param == "s3" else None)


def test_a_signed_release_is_taken_and_names_its_key(place: Place, keys: dict[str, Path]) -> None:
    store = place.store(**keys)
    made = publish(store, "text")
    assert made.signature is not None
    assert made.signature.key_id == Signer.from_file(keys["release_signing_key"]).key_id
    reader = place.store(release_trusted_keys=keys["release_trusted_keys"])
    folder, manifest = reader.take(made.release_id)
    assert (folder / "answer.txt").read_text() == "text"
    assert manifest == reader.verify(made.release_id) == made
    assert place.store().verify(made.release_id) == made, "who asks for no signature takes it as well"


def test_what_is_unsigned_or_changed_or_signed_by_another_is_not_taken(
    place: Place, keys: dict[str, Path], tmp_path: Path
) -> None:
    trusting = place.store(**keys)
    generate(tmp_path / "other")
    unsigned = publish(place.store(), "unsigned").release_id
    foreign = publish(place.store(release_signing_key=tmp_path / "other"), "foreign").release_id
    changed, bent, moved = (publish(trusting, text) for text in ("changed", "bent", "moved"))
    good = publish(trusting, "good").release_id
    place.change(changed.release_id, created_at="2030-01-01T00:00:00Z")
    place.change(bent.release_id, signature={"key_id": Signer.from_file(tmp_path / "key").key_id, "value": "no base64"})
    assert moved.signature is not None
    place.change(unsigned, signature=moved.signature.model_dump())
    place.change(moved.release_id, signature=None)
    told = {
        unsigned: "it was changed",
        foreign: "is signed by the key",
        changed.release_id: "it was changed",
        bent.release_id: "cannot be read",
        moved.release_id: "is not signed",
    }
    for release, reason in told.items():
        for refuse in (trusting.verify, trusting.fetch, trusting.activate):
            with pytest.raises(UntrustedRelease, match=reason):
                refuse(release)
    assert trusting.current_id() == good


def test_a_member_that_is_there_twice_cannot_be_signed_in_one_form_and_read_in_another(
    place: Place, keys: dict[str, Path]
) -> None:
    store = place.store(**keys)
    made = publish(store, "text").release_id
    raw = place.read(f"{made}/{MANIFEST}")
    place.write(f"{made}/{MANIFEST}", b'{"schema_version": 1,' + raw.strip()[1:])
    with pytest.raises(DamagedRelease, match="twice"):
        store.verify(made)


def test_publishing_again_signs_what_was_not_signed(place: Place, keys: dict[str, Path]) -> None:
    before = publish(place.store(), "text")
    store = place.store(**keys)
    with pytest.raises(UntrustedRelease):
        store.verify(before.release_id)
    again = publish(store, "text", day=1)
    assert again.release_id == before.release_id
    assert store.verify(before.release_id).signature is not None


def test_while_a_key_is_replaced_both_are_trusted(place: Place, keys: dict[str, Path], tmp_path: Path) -> None:
    old = publish(place.store(**keys), "old").release_id
    generate(tmp_path / "next")
    both = tmp_path / "both.pub"
    both.write_bytes((tmp_path / "key.pub").read_bytes() + (tmp_path / "next.pub").read_bytes())
    store = place.store(release_signing_key=tmp_path / "next", release_trusted_keys=both)
    new = publish(store, "new").release_id
    assert store.verify(old).release_id == old
    assert store.verify(new).release_id == new
    assert len(store.trusted_ids) == 2


def test_what_is_made_anew_is_signed_again_if_it_was_trusted(place: Place, keys: dict[str, Path]) -> None:
    unsigned = publish(place.store(), "unsigned").release_id
    store = place.store(**keys)
    signed = publish(store, "signed").release_id

    def blank(folder: Path) -> bool:
        (folder / "answer.txt").write_text(f"erased {(folder / 'answer.txt').read_text()}")
        return True

    made = store.remake(blank)
    assert store.verify(made[signed]).signature is not None
    with pytest.raises(UntrustedRelease):
        store.verify(made[unsigned])


def test_the_token_changes_with_any_file_and_only_then(place: Place) -> None:
    store = place.store()
    one, other = (publish(store, text).release_id for text in ("one", "other"))
    token = store.token(one)
    assert store.token(one) == token
    place.write(f"{other}/answer.txt", b"changed")
    assert store.token(one) == token
    place.write(f"{one}/models/model.bin", b"changed")
    assert store.token(one) != token
    with pytest.raises(UnknownRelease):
        store.token("2026-01-01-0123456789ab")
    with pytest.raises(UnknownRelease):
        store.token("..")


def test_the_history_is_what_rollbacks_lead_to(place: Place) -> None:
    store = place.store()
    made = [publish(store, text).release_id for text in ("a", "b", "c")]
    assert store.history() == tuple(reversed(made))
    assert store.earlier_id() == made[1]
    assert store.rollback(verified=made[1]).release_id == made[1]
    assert store.history() == (made[1], made[0])


def test_a_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["release", "keygen", str(tmp_path / "key")])
    assert answer.exit_code == 0, answer.output
    key_id = Signer.from_file(tmp_path / "key").key_id
    assert key_id in answer.output
    assert TrustedKeys.from_file(tmp_path / "key.pub").ids == (key_id,)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        generate(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    assert before.decode() not in answer.output


def test_files_that_hold_no_such_key_are_named_with_the_cure(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    (tmp_path / "ec").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "ec.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "empty").write_bytes(b"")
    generate(tmp_path / "key")
    generate(tmp_path / "other")
    wrong = [
        ({"release_signing_key": tmp_path / "none"}, "CARTOGRAPH_RELEASE_SIGNING_KEY=.*cannot be read"),
        ({"release_signing_key": tmp_path / "ec"}, "not Ed25519"),
        ({"release_signing_key": tmp_path / "key.pub"}, "cannot be read as a private key"),
        ({"release_trusted_keys": tmp_path / "empty"}, "CARTOGRAPH_RELEASE_TRUSTED_KEYS=.*no public key"),
        ({"release_trusted_keys": tmp_path / "ec.pub"}, "not Ed25519"),
        ({"release_trusted_keys": tmp_path / "key"}, "cannot be read as public keys"),
        (
            {"release_signing_key": tmp_path / "key", "release_trusted_keys": tmp_path / "other.pub"},
            "would not be taken",
        ),
    ]
    for settings, told in wrong:
        with pytest.raises(SettingsError, match=told):
            open_store(Settings(home=tmp_path, **settings))  # type: ignore[arg-type]
