"""What every store promises, held against both: a local folder, and S3 over HTTP."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from cartograph.releases import (
    CheckOutcome,
    DamagedRelease,
    NewerManifest,
    NoRelease,
    Override,
    ReleaseStore,
    StoreUnavailable,
    UnfitRelease,
    UnknownRelease,
    open_store,
)
from cartograph.settings import Settings, SettingsError
from tests.unit.releases.making import MOMENT, make_inputs, publish, write_files

KEYS = ("aws_access_key_id", "aws_secret_access_key")
BUCKETS = (f"bucket-{number}" for number in count())

Basis = Literal["current", "outdated", "missing"]
Damage = Callable[[str, bytes | None], None]
"""Overwrites the file of the store at a path beneath its root; deletes it where the content is None."""


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3_client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **dict.fromkeys(KEYS, "of-a-test"))


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ReleaseStore, Damage]:
    if request.param == "folder":
        root = tmp_path / "home" / "simulated" / "releases"

        def damage(name: str, content: bytes | None) -> None:
            path = root / name
            if path.exists():
                path.unlink()
            if content is not None:
                path.write_bytes(content)

        return open_store(Settings(home=tmp_path / "home")), damage

    url = request.getfixturevalue("s3_url")
    client = s3_client(url)
    bucket = next(BUCKETS)
    client.create_bucket(Bucket=bucket)

    def damage_object(name: str, content: bytes | None) -> None:
        key = f"releases/simulated/{name}"
        if content is None:
            client.delete_object(Bucket=bucket, Key=key)
        else:
            client.put_object(Bucket=bucket, Key=key, Body=content)

    settings = Settings(home=tmp_path / "home", release_uri=f"s3://{bucket}/releases/")
    return open_store(settings, client), damage_object


@pytest.fixture
def store(place: tuple[ReleaseStore, Damage]) -> ReleaseStore:
    return place[0]


@pytest.fixture
def damage(place: tuple[ReleaseStore, Damage]) -> Damage:
    return place[1]


def test_before_the_first_release_there_is_none(store: ReleaseStore) -> None:
    assert store.list() == ()
    for ask in (store.current, store.current_id, store.rollback):
        with pytest.raises(NoRelease):
            ask()
    with pytest.raises(NoRelease, match="Make one with `cartograph run`"):
        store.current()


def test_a_release_holds_what_was_written_and_is_current(store: ReleaseStore) -> None:
    manifest = publish(store, "42")
    assert [(entry.path, entry.size) for entry in manifest.files] == [("answer.txt", 2), ("models/model.bin", 2000)]
    assert manifest.created_at == MOMENT
    assert store.current() == store.get(manifest.release_id) == store.verify(manifest.release_id) == manifest
    folder = store.fetch(manifest.release_id)
    assert (folder / "answer.txt").read_text() == "42"
    assert (folder / "models" / "model.bin").read_bytes() == b"42" * 1000
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.rglob("*.*")), "what is served is not written to"


def test_the_same_content_is_the_same_release_and_its_first_manifest_stays(store: ReleaseStore) -> None:
    first = publish(store, "same")
    second = publish(store, "same", day=1, git_commit=None)
    assert second == first
    assert store.list() == (first,)
    with pytest.raises(NoRelease, match="no earlier release"):
        store.rollback()


def test_an_exception_in_the_block_leaves_nothing(store: ReleaseStore) -> None:
    before = publish(store, "before")
    with pytest.raises(ZeroDivisionError), store.creating(make_inputs(), created_at=MOMENT) as draft:
        (draft.path / "answer.txt").write_text(str(1 / 0))
    assert not draft.path.exists()
    assert store.list() == (before,)
    with pytest.raises(RuntimeError, match="has a manifest only after"):
        _ = draft.manifest


def test_rolling_back_goes_to_the_release_before_and_publishing_again_forward(store: ReleaseStore) -> None:
    a, b, c = (publish(store, text, day=day) for day, text in enumerate("abc"))
    assert store.rollback() == b == store.current()
    assert store.rollback() == a == store.current()
    with pytest.raises(NoRelease):
        store.rollback()
    assert publish(store, "c", day=9) == c == store.current()
    assert store.rollback() == a


def test_going_back_from_a_release_is_done_once_however_often_it_is_asked_for(store: ReleaseStore) -> None:
    a, b, c = (publish(store, text, day=day) for day, text in enumerate("abc"))
    assert store.earlier_id(leaving=c.release_id) == b.release_id
    for _ in range(3):
        assert store.rollback(leaving=c.release_id) == b == store.current()
        assert store.earlier_id(leaving=c.release_id) == b.release_id
    assert store.history() == (b.release_id, a.release_id)
    for ask in (store.rollback, store.earlier_id):
        with pytest.raises(UnknownRelease):
            ask(leaving="2020-01-01-000000000000")
    assert store.rollback(leaving=b.release_id) == a
    with pytest.raises(NoRelease, match="no earlier release"):
        store.rollback(leaving=a.release_id)


def test_any_release_can_be_activated(store: ReleaseStore) -> None:
    a, b = publish(store, "a"), publish(store, "b")
    assert store.activate(a.release_id) == a == store.current()
    assert store.rollback() == b
    with pytest.raises(UnknownRelease, match=r"no release 2020-01-01-000000000000.*There: .*" + a.release_id):
        store.activate("2020-01-01-000000000000")
    with pytest.raises(UnknownRelease, match="not a release id"):
        store.activate("../../etc")
    assert store.current() == b


def test_releases_are_listed_newest_first(store: ReleaseStore) -> None:
    made = [publish(store, str(day), day=day) for day in (3, 1, 2)]
    assert store.list() == tuple(sorted(made, key=lambda m: m.created_at, reverse=True))


def test_pruning_keeps_the_current_one_then_those_to_roll_back_to_then_the_newest(store: ReleaseStore) -> None:
    a, b, c, d = (publish(store, text, day=day) for day, text in enumerate("abcd"))
    store.activate(a.release_id)
    assert set(store.prune(3)) == {b.release_id}
    assert set(store.prune(1)) == {c.release_id, d.release_id}
    assert store.list() == (a,) == (store.current(),)
    assert store.prune(1) == ()
    with pytest.raises(NoRelease, match="no earlier release"):
        store.rollback()
    with pytest.raises(UnknownRelease):
        store.get(b.release_id)
    with pytest.raises(ValueError, match="at least one"):
        store.prune(0)


def test_a_damaged_file_is_named_with_both_checksums(store: ReleaseStore, damage: Damage) -> None:
    good = publish(store, "good")
    bad = publish(store, "bad")
    damage(f"{bad.release_id}/answer.txt", b"bax")
    damage(f"{bad.release_id}/models/model.bin", None)
    expected = bad.file("answer.txt")
    assert expected is not None
    found = "57ec9d6f8c7b452f38a48bb8eb92d51f10ed9a7fbf85841e76703a80140deded"
    message = rf"answer.txt should have SHA-256 {expected.sha256}.*{found}"
    for ask in (store.verify, store.fetch, store.activate):
        with pytest.raises(DamagedRelease, match=message) as error:
            ask(bad.release_id)
        assert "models/model.bin" in str(error.value)
    assert store.rollback() == good


def test_a_file_that_the_manifest_does_not_name_is_told(store: ReleaseStore, damage: Damage) -> None:
    made = publish(store, "42")
    damage(f"{made.release_id}/.DS_Store", b"a desktop's")
    assert store.verify(made.release_id) == store.take(made.release_id)[1] == made
    damage(f"{made.release_id}/models/foreign.bin", b"whose?")
    for ask in (store.verify, store.fetch, store.activate):
        with pytest.raises(DamagedRelease, match=r"models/foreign\.bin is not in its manifest"):
            ask(made.release_id)


def test_a_damaged_release_is_not_rolled_back_to(store: ReleaseStore, damage: Damage) -> None:
    bad = publish(store, "bad")
    good = publish(store, "good")
    damage(f"{bad.release_id}/answer.txt", b"")
    with pytest.raises(DamagedRelease):
        store.rollback()
    assert store.current() == good


@pytest.mark.parametrize("victim", ["answer.txt", "models/model.bin", "manifest.json"])
@pytest.mark.parametrize("content", [b"junk", None])
def test_publishing_again_mends_a_damaged_release(
    store: ReleaseStore, damage: Damage, victim: str, content: bytes | None
) -> None:
    before = publish(store, "text")
    damage(f"{before.release_id}/{victim}", content)
    assert publish(store, "text").release_id == before.release_id
    assert store.verify(before.release_id).files == before.files
    assert (store.fetch(before.release_id) / "answer.txt").read_text() == "text"


@pytest.mark.parametrize("content", [b"{", b'{"schema_version": 99}'])
def test_a_release_that_cannot_be_read_holds_no_other_back(store: ReleaseStore, damage: Damage, content: bytes) -> None:
    first, bad, last = (publish(store, text, day=day) for day, text in enumerate(("first", "bad", "last")))
    damage(f"{bad.release_id}/manifest.json", content)
    assert store.list() == (last, first)
    assert store.unreadable().keys() == {bad.release_id}
    assert store.earlier_id() == first.release_id
    assert store.rollback() == first
    assert store.current() == first


def test_a_release_that_cannot_be_read_is_told_with_what_to_delete(store: ReleaseStore, damage: Damage) -> None:
    bad, last = publish(store, "bad"), publish(store, "last")
    assert store.unreadable() == {}
    damage(f"{bad.release_id}/manifest.json", b"{")
    message = rf"Put {store.location}/{bad.release_id} back from a backup, or delete it\."
    assert re.search(message, str(store.unreadable()[bad.release_id]))
    with pytest.raises(DamagedRelease, match=message):
        store.rollback()
    assert store.current() == last
    damage(f"{last.release_id}/manifest.json", b"{")
    assert "Publish again with `cartograph run`" in str(store.unreadable()[last.release_id])


def test_publishing_again_mends_a_damaged_pointer(store: ReleaseStore, damage: Damage) -> None:
    publish(store, "text")
    damage("current.json", b'{"schema_version": 1')
    with pytest.raises(DamagedRelease, match=r"current.json is damaged"):
        store.current()
    assert publish(store, "text") == store.current()


def test_a_manifest_of_a_newer_cartograph_is_left_alone(store: ReleaseStore, damage: Damage) -> None:
    newer, older = publish(store, "newer"), publish(store, "older")
    damage(f"{newer.release_id}/manifest.json", b'{"schema_version": 99}')
    with pytest.raises(NewerManifest, match="Update Cartograph"):
        store.get(newer.release_id)
    with pytest.raises(NewerManifest):
        publish(store, "newer")
    assert store.prune(1) == ()
    assert store.ids() == tuple(sorted((newer.release_id, older.release_id)))


def test_an_unfit_draft_is_refused_and_names_why(store: ReleaseStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not to be released")

    def link(folder: Path) -> None:
        (folder / "link").symlink_to(secret)

    def linked_folder(folder: Path) -> None:
        (folder / "x").write_text("x")
        (folder / "folder").symlink_to(tmp_path)

    def pipe(folder: Path) -> None:
        os.mkfifo(folder / "pipe")

    def bad_name(folder: Path) -> None:
        (folder / "a name with blanks").write_text("x")

    def nothing(folder: Path) -> None:
        (folder / "empty").mkdir()

    for write, why in (
        (link, "link is not a plain file"),
        (linked_folder, "folder is not a plain file"),
        (pipe, "pipe is not a plain file"),
        (bad_name, "'a name with blanks' cannot be the name"),
        (nothing, "nothing was written"),
    ):
        with pytest.raises(UnfitRelease, match=why), store.creating(make_inputs(), created_at=MOMENT) as draft:
            write(draft.path)
    assert store.list() == ()


@pytest.mark.parametrize(
    ("passed", "severity", "blocking", "released"),
    [
        (False, "ERROR", True, False),
        (True, "ERROR", True, True),
        (False, "WARN", True, True),
        (False, "ERROR", False, True),
    ],
)
def test_a_failed_blocking_check_forbids_a_release(
    store: ReleaseStore, passed: bool, severity: str, blocking: bool, released: bool
) -> None:
    check = CheckOutcome(
        asset_key="models/churn_classifier", name="beats_baseline", passed=passed, severity=severity, blocking=blocking
    )
    if released:
        assert publish(store, "x", checks=(check,)).inputs.checks == (check,)
    else:
        with pytest.raises(UnfitRelease, match="beats_baseline of models/churn_classifier"):
            publish(store, "x", checks=(check,))
        assert store.list() == ()


@pytest.mark.parametrize(
    ("basis", "said"), [("outdated", "have not run since their data changed"), ("missing", "have never run")]
)
def test_a_blocking_check_without_a_result_on_the_data_forbids_a_release(
    store: ReleaseStore, basis: Basis, said: str
) -> None:
    check = make_check("rows_match_mart", passed=True, basis=basis)
    with pytest.raises(UnfitRelease, match=f"blocking checks {said}: rows_match_mart of published/fct_orders"):
        publish(store, "x", checks=(check,))
    assert publish(store, "x", checks=(check.model_copy(update={"blocking": False}),)).inputs.forbidden_by == ()


def test_a_refusal_names_ten_checks_of_a_kind(store: ReleaseStore) -> None:
    checks = tuple(make_check(f"check_{number:02}", passed=False) for number in range(12))
    with pytest.raises(UnfitRelease, match=r"check_09 of published/fct_orders and 2 more\. Mend"):
        publish(store, "x", checks=checks)


def test_a_release_that_checks_forbid_goes_out_where_somebody_answers_for_it(store: ReleaseStore) -> None:
    decided = Override(by="Ada", reason="The shop's stock count was late.")
    check = make_check("rows_match_mart", passed=False)
    released = publish(store, "x", checks=(check,), override=decided)
    assert store.current().inputs.override == decided
    assert released.inputs.forbidden_by == (check,)


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("", "The stock count was late."),
        ("Ada", "because"),
        (" ", "The stock count was late."),
        ("Ada", " " * 10),
        ("Ada", "\n" * 10),
        ("Ada", "  because  "),
        ("Ada\x1b[2J", "The stock count was late."),
        ("Ada", "The stock count\nwas late."),
    ],
)
def test_an_override_needs_a_name_and_a_reason(by: str, reason: str) -> None:
    with pytest.raises(ValidationError):
        Override(by=by, reason=reason)


def make_check(name: str, *, passed: bool, basis: Basis = "current") -> CheckOutcome:
    return CheckOutcome(
        asset_key="published/fct_orders", name=name, passed=passed, severity="ERROR", blocking=True, basis=basis
    )


def test_two_writers_at_once_both_publish(store: ReleaseStore) -> None:
    with store.creating(make_inputs(), created_at=MOMENT) as outer:
        write_files(outer.path, "outer")
        inner = publish(store, "inner")
    assert {m.release_id for m in store.list()} == {inner.release_id, outer.manifest.release_id}
    assert store.current() == outer.manifest
    assert store.rollback() == inner


def test_released_files_are_read_only_and_links_into_a_release_are_refused(tmp_path: Path) -> None:
    store = open_store(Settings(home=tmp_path))
    manifest = publish(store, "text")
    folder = store.fetch(manifest.release_id)
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}
    copy = tmp_path / "models"
    (folder / "models").rename(copy)
    (folder / "models").symlink_to(copy)
    with pytest.raises(DamagedRelease, match=r"models/model.bin is reached through a link"):
        store.verify(manifest.release_id)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedRelease, match="reached through a link"):
        store.get(manifest.release_id)


def test_a_place_that_is_no_folder_or_cannot_be_reached_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = open_store(Settings(home=tmp_path, release_uri=str(tmp_path / "file")))
    for ask in (blocked.current, lambda: publish(blocked, "x")):
        with pytest.raises(StoreUnavailable, match=r"file/simulated.*CARTOGRAPH_RELEASE_URI"):
            ask()
    with pytest.raises(SettingsError, match="CARTOGRAPH_RELEASE_URI=s3://A_Bucket/simulated"):
        open_store(Settings(home=tmp_path, release_uri="s3://A_Bucket"))


def test_a_full_disk_leaves_the_old_release_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(Settings(home=tmp_path))
    old = publish(store, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            publish(store, "new")
    assert store.list() == (old,)
    assert store.verify(old.release_id) == store.current()


def test_a_missing_bucket_is_named(tmp_path: Path, s3_url: str) -> None:
    client = s3_client(s3_url)
    store = open_store(Settings(home=tmp_path, release_uri="s3://nowhere"), client)
    for ask in (store.current, store.list, lambda: publish(store, "x")):
        with pytest.raises(StoreUnavailable, match="s3://nowhere/simulated cannot be used"):
            ask()


def test_each_shop_has_its_own_releases(tmp_path: Path) -> None:
    uri = str(tmp_path / "all")
    one = open_store(Settings(home=tmp_path, shop="one", release_uri=uri))
    two = open_store(Settings(home=tmp_path, shop="two", release_uri=uri))
    assert publish(one, "1") == one.current()
    assert two.list() == ()


def blank_secrets(folder: Path) -> bool:
    """Change the text of a release where it is `secret`."""
    if (folder / "answer.txt").read_text() != "secret":
        return False
    write_files(folder, "blank")
    return True


def test_releases_are_made_anew_without_something_and_keep_their_places(store: ReleaseStore) -> None:
    old = publish(store, "secret", day=1)
    middle = publish(store, "42", day=2)
    newest = publish(store, "secret", day=3, as_of=date(2026, 2, 1))
    made = store.remake(blank_secrets)
    assert made.keys() == {old.release_id, newest.release_id}
    assert set(store.ids()) == {*made.values(), middle.release_id}
    assert store.current_id() == made[newest.release_id]
    anew = store.verify(made[old.release_id])
    assert (anew.created_at, anew.inputs) == (old.created_at, old.inputs)
    assert (store.fetch(anew.release_id) / "answer.txt").read_text() == "blank"
    assert [store.rollback().release_id for _ in range(2)] == [middle.release_id, made[old.release_id]]
    assert store.remake(blank_secrets) == {}
    with pytest.raises(UnknownRelease):
        store.fetch(old.release_id)


def test_a_release_that_is_there_without_it_already_takes_the_place(store: ReleaseStore) -> None:
    publish(store, "secret", day=1)
    clean = publish(store, "blank", day=2)
    store.remake(blank_secrets)
    assert store.ids() == (clean.release_id,)
    assert store.current_id() == clean.release_id
    with pytest.raises(NoRelease):
        store.rollback()


def test_no_release_is_deleted_while_one_cannot_be_read(store: ReleaseStore, damage: Damage) -> None:
    releases = [publish(store, "secret", day=day, as_of=date(2026, 1, day)).release_id for day in (1, 2)]
    damage(f"{releases[1]}/answer.txt", b"else")
    with pytest.raises(DamagedRelease):
        store.remake(blank_secrets)
    assert set(store.ids()) >= set(releases)


def test_removed_releases_leave_no_local_copy(store: ReleaseStore, tmp_path: Path) -> None:
    old = publish(store, "secret", day=1)
    store.fetch(old.release_id)
    store.remake(blank_secrets)
    assert [path for path in tmp_path.rglob("answer.txt") if path.read_text() == "secret"] == []
