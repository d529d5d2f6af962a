"""The file of alerts: who is told what, and what a wrong file is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartograph.alerts.config import AlertsError, load_alerts
from cartograph.settings import Settings
from cartograph.shops import unknown_variables
from tests.unit.alerts.making import make_message

CHAT = "chat: {type: webhook, url: 'http://127.0.0.1:1/x'}"
MAIL = "mail: {type: email, host: localhost, sender: a@example.com, recipients: [b@example.com]}"


def load(tmp_path: Path, text: str):
    path = tmp_path / "alerts.yaml"
    path.write_text(text, encoding="utf-8")
    return load_alerts(Settings(home=tmp_path, alerts_file=path))


def test_without_a_file_the_log_takes_everything(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    config = load_alerts(settings)
    assert config.route(make_message()) == ("log",)
    assert list(config.all_sinks(settings)) == ["log"]


def test_the_first_route_that_matches_decides(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        f"""
        sinks: {{{CHAT}, {MAIL}}}
        routes:
          - {{owners: ["team:analytics"], severities: [error], sinks: [chat, mail]}}
          - {{owners: ["team:analytics"], sinks: []}}
          - {{severities: [error], sinks: [chat]}}
        """,
    )
    assert config.route(make_message(owner="team:analytics")) == ("log", "chat", "mail")
    assert config.route(make_message(owner="team:analytics", severity="warning")) == ("log",)
    assert config.route(make_message()) == ("log", "chat")
    assert config.route(make_message(severity="warning")) == ("log",)


def test_secrets_come_from_variables_and_show_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_CHAT_URL", "https://chat.example.com/secret")
    text = "sinks: {chat: {type: webhook, url: '${CARTOGRAPH_CHAT_URL}'}}\nroutes: [{sinks: [chat]}]"
    config = load(tmp_path, text)
    assert config.sinks["chat"].url.get_secret_value() == "https://chat.example.com/secret"
    assert "secret" not in repr(config).replace("SecretStr", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"sinks: {{{CHAT}}}", "alerts.yaml cannot be used: no route leads to chat"),
        ("routes: [{sinks: [chat]}]", "routes name sinks that there are not: chat"),
        (f"sinks: {{{CHAT.replace('chat', 'log', 1)}}}\nroutes: [{{sinks: [log]}}]", "call the sink 'log' otherwise"),
        ("sinks: {chat: {type: fax}}\nroutes: [{sinks: [chat]}]", "sinks.chat"),
        ("sinks: {chat: {type: webhook, url: '${CARTOGRAPH_NOT_SET}'}}", "needs the variable CARTOGRAPH_NOT_SET"),
        ("sinks: {chat: {type: webhook, url: nonsense}}", "a webhook's url begins with https://"),
        ("- nothing", "must be a mapping with sinks and routes"),
        ("sinks: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AlertsError, match=r"alerts\.yaml") as found:
        load(tmp_path, text)
    assert said in str(found.value)


def test_a_file_that_is_no_text_is_named_and_its_variables_are_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_bytes(b"\x00\xff\xfe\x01")
    settings = Settings(home=tmp_path, alerts_file=path)
    with pytest.raises(AlertsError, match=r"alerts\.yaml is not valid YAML"):
        load_alerts(settings)
    assert unknown_variables(settings) == {}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlertsError, match=r"none\.yaml cannot be read"):
        load_alerts(Settings(home=tmp_path, alerts_file=tmp_path / "none.yaml"))
