"""Keys: only a digest is kept, each wrong key is found out by the same steps, and old ones end when they should."""

import stat
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartograph import keys
from cartograph.keys import Key, KeysError, KeyStore, verified

NOW = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "shop" / "keys.db")


def known(store: KeyStore) -> dict[str, Key]:
    return {key.id: key for key in store.all()}


def make(store: KeyStore, name: str = "web-shop", **changes: Any) -> tuple[Key, str]:
    return store.create(name, **{"scopes": ["read"], "now": NOW, "days": 30, **changes})


def test_a_key_is_recognised_and_its_secret_is_not_kept(store: KeyStore, tmp_path: Path) -> None:
    key, sent = make(store, scopes=["read", "predict"], rate="5/second")
    found = verified(known(store), sent, NOW)
    assert found == key
    assert key.scopes == {"read", "predict"}
    assert (key.rate, key.expires_at, key.last_used_at) == ("5/second", NOW + 30 * DAY, None)
    secret = sent.rpartition("_")[2]
    assert len(secret) * 4 == 256
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()
            assert bytes.fromhex(secret) not in file.read_bytes()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_reading_makes_no_file(tmp_path: Path) -> None:
    assert KeyStore(tmp_path / "keys.db").all() == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_ends_when_it_expires_and_when_it_is_revoked(store: KeyStore) -> None:
    key, sent = make(store)
    assert verified(known(store), sent, key.expires_at - timedelta(microseconds=1)) is not None
    assert verified(known(store), sent, key.expires_at) is None
    revoked = store.revoke(key.id, now=NOW)
    assert verified(known(store), sent, NOW) is None
    assert store.revoke(key.id, now=NOW + DAY).revoked_at == revoked.revoked_at == NOW


def test_both_secrets_are_taken_during_the_overlap_and_then_the_new_one(store: KeyStore) -> None:
    key, old = make(store)
    rotated, new = store.rotate(key.id, now=NOW + DAY, overlap=DAY)
    assert rotated.id == key.id
    assert rotated.expires_at == NOW + 31 * DAY
    for at, taken in ((NOW + DAY, {old, new}), (NOW + 2 * DAY, {new}), (NOW + 31 * DAY, set())):
        assert {sent for sent in (old, new) if verified(known(store), sent, at)} == taken
    store.revoke(key.id, now=NOW + DAY)
    assert verified(known(store), old, NOW + DAY) is None


def test_an_overlap_does_not_outlast_the_key(store: KeyStore) -> None:
    key, old = make(store, days=1)
    rotated, _ = store.rotate(key.id, now=NOW, overlap=3 * DAY)
    assert rotated.previous_until == key.expires_at
    assert verified(known(store), old, key.expires_at) is None


def test_the_latest_use_is_kept_whoever_notes_it(store: KeyStore) -> None:
    key, _ = make(store)
    store.used({key.id: NOW + DAY})
    store.used({key.id: NOW, "unknown": NOW})
    assert known(store)[key.id].last_used_at == NOW + DAY


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "no name of a key"),
        ({"name": "a\nb"}, "no name of a key"),
        ({"scopes": []}, "one or more of read, predict"),
        ({"scopes": ["read", "root"]}, "got read, root"),
        ({"days": 0}, "1 to 3650 days, not 0"),
        ({"rate": "many"}, "'many' is no rate"),
        ({"rate": "0/second"}, "'0/second' is no rate"),
        ({"rate": "5/second\n"}, "is no rate"),
    ],
)
def test_a_wrong_key_is_not_made(store: KeyStore, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(KeysError, match=told):
        make(store, **changes)
    assert store.all() == []


def test_what_cannot_be_done_says_what_can(store: KeyStore, tmp_path: Path) -> None:
    key, _ = make(store)
    with pytest.raises(KeysError, match=f"called web-shop already.*keys rotate {key.id}"):
        make(store)
    with pytest.raises(KeysError, match=r"no key 0123.*keys list"):
        store.revoke("0123", now=NOW)
    with pytest.raises(KeysError, match="is expired: make a new one"):
        store.rotate(key.id, now=key.expires_at, overlap=DAY)
    assert make(store, now=key.expires_at)[0].name == key.name
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database, and longer than nothing" * 50)
    with pytest.raises(KeysError, match="cannot be read"):
        KeyStore(broken).all()
    with pytest.raises(KeysError, match="cannot be written"):
        KeyStore(broken).used({"a": NOW})


def test_each_kind_of_key_is_judged_by_the_same_steps(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enumeration by timing: what is done does not depend on whether an id is known, so no clock can tell."""
    valid, sent = make(store)
    expired, sent_expired = make(store, "old", days=1)
    revoked, sent_revoked = make(store, "gone")
    store.revoke(revoked.id, now=NOW)
    wrong = "0" * 64
    presented = {
        "valid": sent,
        "expired": sent_expired,
        "revoked": sent_revoked,
        "wrong secret": f"ctg_{valid.id}_{wrong}",
        "wrong secret of an expired one": f"ctg_{expired.id}_{wrong}",
        "unknown id": f"ctg_{'0' * 12}_{wrong}",
        "no key": "x" * len(sent),
    }
    steps: Counter[tuple[str, int, int]] = Counter()

    def counted(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: bytes) -> Any:
            steps[(name, len(given), sum(map(len, given)))] += 1
            return step(*given)

        return counting

    monkeypatch.setattr(keys, "sha256", counted("sha256", keys.sha256))
    monkeypatch.setattr(keys, "compare_digest", counted("compare_digest", keys.compare_digest))
    everyone, taken = known(store), {}
    for kind, key in presented.items():
        steps.clear()
        found = verified(everyone, key, NOW + DAY)
        taken[kind] = (found is not None, dict(steps))
    done = {("sha256", 1, len(sent)): 1, ("compare_digest", 2, 64): 2}
    assert taken == {kind: (kind == "valid", done) for kind in presented}


@given(st.text(max_size=400))
def test_nothing_else_is_a_key(presented: str) -> None:
    assert verified({}, presented, NOW) is None
    nobody = keys._NOBODY
    assert verified({nobody.id: nobody}, presented, NOW) is None
