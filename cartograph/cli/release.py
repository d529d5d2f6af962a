"""`cartograph release`: the releases that the API can serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cartograph.cli.console import names_and_numbers, output, say_warning, size
from cartograph.releases import NoRelease, ReleaseError, open_store
from cartograph.releases.signing import generate
from cartograph.settings import load_settings
from cartograph.words import counted

app = typer.Typer(help="Releases: what the API serves.", no_args_is_help=True)

ReleaseId = Annotated[str | None, typer.Argument(help="The release; by default the current one.")]


@app.command("list")
def list_releases() -> None:
    """List the releases, newest first; the current one is marked. Those that cannot be read come last."""
    store = open_store(load_settings())
    releases, unreadable = store.list(), store.unreadable()
    if not releases and not unreadable:
        output.print("No release yet. `cartograph run` makes one.")
        return
    try:
        current = store.current_id()
    except NoRelease:
        current = None
    table = names_and_numbers("", "release", "created (UTC)", "as of", "models")
    for manifest in releases:
        table.add_row(
            "→" if manifest.release_id == current else "",
            manifest.release_id,
            f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
            manifest.inputs.as_of.isoformat(),
            ", ".join(f"{name} {version}" for name, version in manifest.inputs.models.items()),
        )
    for release in unreadable:
        table.add_row("→" if release == current else "", release, "cannot be read", "–", "–")
    output.print(table)
    _tell(unreadable)


@app.command()
def show(release_id: ReleaseId = None) -> None:
    """Print a release's manifest as JSON."""
    store = open_store(load_settings())
    manifest = store.get(release_id) if release_id else store.current()
    output.print_json(manifest.model_dump_json())


@app.command()
def verify(release_id: ReleaseId = None) -> None:
    """Hold a release's files against the checksums of its manifest."""
    store = open_store(load_settings())
    manifest = store.verify(release_id or store.current().release_id)
    total = sum(file.size for file in manifest.files)
    output.print(
        f"[green]✓[/] {manifest.release_id}: {counted(len(manifest.files), 'file')}, {size(total)}, all as written"
    )


@app.command()
def rollback(
    release_id: Annotated[
        str | None, typer.Argument(help="Where to; by default the release before the current one.")
    ] = None,
    leaving: Annotated[
        str | None,
        typer.Option("--from", help="The release to go back from: where another is current, nothing is changed."),
    ] = None,
) -> None:
    """Make an earlier release the current one, by default the latest that can be read."""
    if release_id and leaving:
        raise typer.BadParameter("RELEASE_ID says where to go, --from from where: give one of them")
    store = open_store(load_settings())
    manifest = store.activate(release_id) if release_id else store.rollback(leaving=leaving)
    output.print(f"[green]✓[/] {manifest.release_id} is current")
    _tell(store.unreadable())


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="Where to write the private key; the public one is beside it, as .pub.")],
) -> None:
    """Make a key to sign releases with."""
    key_id = generate(path.expanduser().absolute())
    output.print(f"[green]✓[/] key {key_id}: {path} is private, {path}.pub is for who serves the releases")
    output.print(f"CARTOGRAPH_RELEASE_SIGNING_KEY={path} where they are made")
    output.print(f"CARTOGRAPH_RELEASE_TRUSTED_KEYS={path}.pub where they are served")


def _tell(unreadable: Mapping[str, ReleaseError]) -> None:
    for reason in unreadable.values():
        say_warning(str(reason))
