"""`cartograph keys`: a secret is shown once, and each change is told to the audit log."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartograph.audit import acts
from cartograph.cli.app import app
from cartograph.keys import KeysError
from cartograph.settings import load_settings

SENT = re.compile(r"^ctg_[0-9a-f]{12}_[0-9a-f]{64}$", re.MULTILINE)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))


def keys(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["keys", *arguments])
    if isinstance(result.exception, KeysError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_key_is_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    assert "No key yet" in keys("list")
    made = keys("create", "--name", "web-shop", "--scope", "predict", "--scope", "read", "--rate", "9/second")
    (sent,) = SENT.findall(made)
    key_id = sent.split("_")[1]
    listed = keys("list")
    assert re.search(rf"{key_id} │ web-shop │ read, predict │ valid │ .* │ never +│ 9/second", listed)
    (rotated,) = SENT.findall(keys("rotate", key_id, "--overlap-hours", "1"))
    assert rotated != sent
    assert "is revoked" in keys("revoke", key_id)
    assert "revoked" in keys("list")
    told = acts(load_settings().audit_log)
    assert [(act.action, act.target, act.outcome) for act in told] == [
        (action, f"{key_id} (web-shop)", "done") for action in ("keys create", "keys rotate", "keys revoke")
    ]
    kept = "".join(path.read_bytes().hex() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (sent, rotated):
        hexadecimal = secret.split("_")[2]
        assert hexadecimal not in listed
        assert hexadecimal not in kept
        assert hexadecimal.encode().hex() not in kept


def test_a_mistake_is_told_and_nothing_is_recorded() -> None:
    with pytest.raises(KeysError, match="one or more of read, predict, ingest, admin, pii; got root"):
        keys("create", "--name", "x", "--scope", "root")
    with pytest.raises(KeysError, match="no key 12"):
        keys("revoke", "12")
    assert acts(load_settings().audit_log) == []
