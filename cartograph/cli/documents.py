"""How a memo is shown: printed, or written as Markdown with its pictures beside it or as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.cli.console import say
from cartograph.cli.options import written

AsHtml = Annotated[bool, typer.Option("--html", help="As an HTML page that has its pictures in it.")]
Out = Annotated[
    Path | None, typer.Option(help="The file to write. Unset: the terminal, and Markdown without pictures.")
]


def present(text: str, pictures: Mapping[str, bytes], title: str, *, html: bool, out: Path | None) -> None:
    """Print or write a memo in Markdown, `pictures` being its SVG files by the names that it has for them."""
    from ml_assets.core.documents import html_of, with_pictures

    if html:
        text = html_of(with_pictures(text, pictures), title)
    if out is None:
        typer.echo(text, nl=False)
        return
    with written(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        if not html:
            for file, content in pictures.items():
                (out.parent / file).write_bytes(content)
    say(f"[green]✓[/] {escape(str(out))}")
