"""A release that cannot be read is told by the commands, and keeps the others from nothing but what needs them all."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.cli.lake import released_snapshots
from cartograph.releases import ReleaseError, ReleaseStore, open_store
from cartograph.settings import load_settings
from tests.unit.releases.making import publish


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseStore:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    return open_store(load_settings())


def damage(store: ReleaseStore, release: str) -> None:
    path = Path(store.location) / release / "manifest.json"
    path.unlink()
    path.write_bytes(b"{")


def test_a_damaged_release_is_listed_and_stepped_over(store: ReleaseStore) -> None:
    first, bad, last = (publish(store, text, day=day).release_id for day, text in enumerate(("first", "bad", "last")))
    damage(store, bad)
    listed = CliRunner().invoke(app, ["release", "list"])
    assert listed.exit_code == 0
    assert sorted((last, first, bad, "cannot be read"), key=listed.output.index) == [last, first, bad, "cannot be read"]
    assert f"Put {store.location}/{bad} back from a backup, or delete it." in listed.output
    assert f"{first} is current" in CliRunner().invoke(app, ["release", "rollback"]).output


def test_maintenance_says_which_release_to_delete_and_then_goes_on(store: ReleaseStore) -> None:
    bad, last = publish(store, "bad").release_id, publish(store, "last")
    expected = {table: {snapshot} for table, snapshot in last.inputs.snapshots.items()}
    assert released_snapshots(load_settings()) == expected
    damage(store, bad)
    with pytest.raises(ReleaseError, match=rf"does not expire\. .*{bad} back from a backup, or delete it\."):
        released_snapshots(load_settings())
    Path(store.location, bad).rename(Path(store.location).parent / "deleted")
    assert released_snapshots(load_settings()) == expected
