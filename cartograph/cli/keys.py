"""`cartograph keys`: who may ask the API, and for what. Each change is a line of the audit log."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated, cast

import typer
from rich.markup import escape

from cartograph import audit
from cartograph.cli.console import names_and_numbers, output, say
from cartograph.cli.options import finite
from cartograph.keys import LONGEST_DAYS, SCOPES, Key, KeyStore, Scope
from cartograph.settings import Settings, load_settings
from cartograph.shops import load_shop

app = typer.Typer(help="API keys: who may ask the service, and for what.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The key's id, as `cartograph keys list` shows it.")]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who uses it, e.g. web-shop; valid keys have different names.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do; again for more: {', '.join(SCOPES)}.")],
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="How long it is valid.")] = 365,
    rate: Annotated[
        str | None, typer.Option(help="Requests that it may send, e.g. 100/second. Unset: CARTOGRAPH_API_RATE.")
    ] = None,
) -> None:
    """Make a key and print it, this one time: only its digest is kept."""
    settings, now = _settings(), datetime.now(UTC)
    key, sent = _store(settings).create(name, cast("list[Scope]", scope), now=now, days=days, rate=rate)
    _record(
        settings, "keys create", key, now, f"scopes {' '.join(sorted(key.scopes))}, until {key.expires_at:%Y-%m-%d}"
    )
    _show(key, sent)


@app.command("list")
def list_keys() -> None:
    """List all keys that were ever made."""
    settings, now = _settings(), datetime.now(UTC)
    keys = _store(settings).all()
    if not keys:
        output.print("No key yet. `cartograph keys create` makes one.")
        return
    table = names_and_numbers("id", "name", "scopes", "state", "expires (UTC)", "last used (UTC)", "rate")
    table.columns[0].no_wrap = True  # other commands take it
    for key in keys:
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        scopes = ", ".join(name for name in SCOPES if name in key.scopes)
        table.add_row(
            key.id, key.name, scopes, key.state(now), f"{key.expires_at:%Y-%m-%d %H:%M}", used, key.rate or ""
        )
    output.print(table)


@app.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[
        float,
        typer.Option(callback=finite, min=0, max=24 * 30, help="How long the old secret is taken beside the new one."),
    ] = 24.0,
) -> None:
    """Give a key a new secret and print it, this one time; the old one is taken for a while longer."""
    settings, now = _settings(), datetime.now(UTC)
    key, sent = _store(settings).rotate(key_id, now=now, overlap=timedelta(hours=overlap_hours))
    _record(settings, "keys rotate", key, now, f"the old secret is taken until {key.previous_until:%Y-%m-%d %H:%M}")
    _show(key, sent)


@app.command()
def revoke(key_id: KeyId) -> None:
    """End a key for good: a running service refuses it within a second."""
    settings, now = _settings(), datetime.now(UTC)
    key = _store(settings).revoke(key_id, now=now)
    _record(settings, "keys revoke", key, now)
    output.print(f"[green]✓[/] {key.id} ({escape(key.name)}) is revoked")


def _settings() -> Settings:
    settings = load_settings()
    load_shop(settings)
    return settings


def _store(settings: Settings) -> KeyStore:
    return KeyStore(settings.keys_path)


def _record(settings: Settings, action: str, key: Key, now: datetime, detail: str = "") -> None:
    actor = f"{getpass.getuser()} at the command line"
    audit.record(settings.audit_log, audit.done(actor, action, f"{key.id} ({key.name})", now, detail))


def _show(key: Key, sent: str) -> None:
    say(sent)
    scopes = ", ".join(sorted(key.scopes))
    output.print(f"[green]✓[/] {key.id} ({escape(key.name)}): {scopes}, until {key.expires_at:%Y-%m-%d %H:%M} UTC")
    output.print("It is shown this once. Send it as `X-API-Key: …` or `Authorization: Bearer …`.")
